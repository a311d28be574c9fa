"""The peer "pika poller": what people write by hand, with blocking pika."""

import sys
from importlib.metadata import version
from pathlib import Path

from bench.compare.peers.peer import Command, Peer

_INTERVAL = 0.1


def _install(_: Path) -> Command:
    return Command((sys.executable, "-m", "bench.load.peers.pika_poller"))


PEER = Peer(
    "pika poller",
    f"(pika {version('pika')})",
    kind="relay",
    about=(
        "A poller as people write it by hand: SELECT … FOR UPDATE SKIP LOCKED of 100 rows, basic_publish with a "
        "blocking connection, which waits for each confirm, an UPDATE of the 100 rows, COMMIT. Its messages are "
        "persistent and have the row's id; they are not mandatory, so what no queue takes is confirmed and gone. An "
        "error ends it, and what it had published of its last 100 rows is published again."
    ),
    install=_install,
    script="bench_peer_pika_poller",
    aside="bench_peer_pika_poller_pending",
    settings={"rows at once": "100", "interval": f"{_INTERVAL:g} s", "mandatory": "no", "confirms": "one at a time"},
    interval=_INTERVAL,
    slow=True,
)
