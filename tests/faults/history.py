"""The database goes back in time: what the relay remembers counts no more.

After a return to an older copy, everything that is committed from then on must arrive, although the copy gives out the
positions of the WAL, and the ids of transactions, once more.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.run import REPEATED, Fault, Run

_MORE_WAL = "SELECT pg_logical_emit_message(false, 'more', repeat('x', 1000000)) FROM generate_series(1, 20)"


def replaced_under_a_running_relay(run: Run) -> None:
    """Put an older copy in the database's place; the relay may see it at once, or when its WAL has grown past ours."""
    run.streaming_relay()
    with _copied(run):
        _lives_on(run)
    grown = run.draw.random() < 0.5
    if grown:
        run.postgres.refuse.set()
        run.postgres.cut()
        run.stage.query(_MORE_WAL)
    run.start_load()
    run.postgres.refuse.clear()
    run.healed()
    run.flows()


def replaced_under_a_stopped_relay(run: Run) -> None:
    """Put an older copy in the database's place while no relay runs."""
    relay = run.streaming_relay()
    with _copied(run):
        _lives_on(run)
        assert relay.terminate() == 0, relay.tail()
    run.start_load()
    run.streaming_relay()
    run.healed()


@contextmanager
def _copied(run: Run) -> Iterator[None]:
    """Copy the stopped server's directory, and put the copy in its place after the block.

    What the block commits is gone then, and its versions are given out once more.
    """
    run.stop_load()
    run.stage.confirmed()
    run.taken += run.tap.drain()
    directory = Path(run.stage.value("SHOW data_directory"))
    copy = directory.with_name("copy")
    run.box.postgres.stop()
    _copy(directory, copy)
    run.box.postgres.start()
    yield
    run.tap.drain()
    run.forget_load()
    run.box.postgres.stop("immediate")
    shutil.rmtree(directory)
    copy.rename(directory)
    run.box.postgres.start()


def _lives_on(run: Run) -> None:
    """Commit, and wait until the relay has published all of it."""
    run.start_load()
    run.flows()
    run.stop_load()
    run.stage.confirmed()


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["/bin/cp", "--archive", str(source), str(target)], check=True)


FAULTS = (
    Fault("database replaced by an older copy under a running relay", replaced_under_a_running_relay, REPEATED),
    Fault("database replaced by an older copy under a stopped relay", replaced_under_a_stopped_relay, REPEATED),
)
