"""`make mutants`: breaks the relay in the ways that lose or repeat events, and sees that the tests notice each.

Every mutant is one replacement in a copy of the sources. A mutant that no test notices, or whose text is no longer
there, fails the run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parents[2]
_SECONDS = 60
_PACKAGES = ("relay", "consumers", "writers", "outboxkit", "sandbox", "sql", "tests")


class Mutant(NamedTuple):
    """One way to break the relay, and the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_STREAM = "tests/unit/relay/sources/test_wal_stream.py"
_ENGINE = "tests/unit/relay/core/test_engine.py"
_CORE = (
    "tests/unit/relay/core/test_core_simulation.py",
    "tests/unit/relay/core/test_ledger.py",
    "tests/unit/relay/publishing/test_outstanding.py",
)
_PUBLISHER = "tests/integration/relay/publishing/test_publisher.py"
_WAL = "tests/integration/relay/sources/test_wal.py"

MUTANTS = (
    Mutant(
        "confirm to Postgres before RabbitMQ has confirmed",
        "relay/core/engine.py",
        "                await self._publisher.publish(parcels)\n",
        "                self.confirmed(parcels)\n                await self._publisher.publish(parcels)\n",
        (_ENGINE,),
    ),
    Mutant(
        "settle a message when it is sent",
        "relay/publishing/publisher.py",
        "        if items:\n            self._link.write(",
        "        if items:\n            self._outcomes and self._outcomes.confirmed([item.parcel for item in items])\n"
        "            self._link.write(",
        (_PUBLISHER,),
    ),
    Mutant(
        "report the end LSN plus one",
        "relay/sources/wal/source.py",
        "            self._flushed = position\n",
        "            self._flushed = Lsn(position + 1)\n",
        (_STREAM, _WAL),
    ),
    Mutant(
        "report the keepalive's LSN",
        "relay/sources/wal/source.py",
        "        if keepalive.reply_requested:\n",
        "        self._flushed = max(self._flushed, keepalive.end)\n        if keepalive.reply_requested:\n",
        (_STREAM, _WAL),
    ),
    Mutant(
        "a keepalive inside a transaction is a boundary",
        "relay/sources/wal/source.py",
        "self._decoder.in_transaction or keepalive.end",
        "keepalive.end",
        (_STREAM,),
    ),
    Mutant(
        "take COMMIT's own LSN for its end",
        "relay/sources/wal/decoders/wal2json.py",
        "    nextlsn: str\n",
        '    nextlsn: str = msgspec.field(name="lsn")\n',
        ("tests/unit/relay/sources/test_wal2json.py",),
    ),
    Mutant(
        "advance to the highest confirmed boundary",
        "relay/core/ledger.py",
        "        while head.boundary is not None and head.in_flight == 0:\n",
        "        while head.boundary is not None:\n",
        _CORE,
    ),
    Mutant(
        "ignore a return",
        "relay/publishing/pipeline.py",
        "        if self._outstanding.some_returned:\n",
        "        if False:\n",
        (*_CORE, _PUBLISHER),
    ),
    Mutant(
        "take a nack for a confirm",
        "relay/publishing/pipeline.py",
        "        if nack:\n",
        "        if False:\n",
        (*_CORE, _PUBLISHER),
    ),
    Mutant(
        "take `multiple` for a single confirm",
        "relay/publishing/outstanding.py",
        "        if multiple:\n",
        "        if False:\n",
        _CORE,
    ),
    Mutant(
        "take a single confirm for `multiple`",
        "relay/publishing/outstanding.py",
        "        if multiple:\n",
        "        if True:\n",
        _CORE,
    ),
    Mutant(
        "forget what was in doubt when the channel goes",
        "relay/publishing/pipeline.py",
        "        self._back([*self._failed, *self._outstanding.rest()])\n",
        "        self._back(self._failed)\n",
        (*_CORE, _PUBLISHER),
    ),
    Mutant(
        "publish without mandatory",
        "relay/publishing/encoding.py",
        '_MANDATORY = b"\\x01"',
        '_MANDATORY = b"\\x00"',
        ("tests/unit/relay/publishing/test_encoding.py", _PUBLISHER),
    ),
    Mutant(
        "make a missing slot again without a word",
        "relay/operating/setup.py",
        "    if facts.checkpoint_lsn is not None and not accept_gap and (",
        "    if facts.checkpoint_lsn == 'never' and (",
        (_WAL,),
    ),
    Mutant(
        "trust a checkpoint of another system",
        "relay/sources/wal/starting.py",
        "    if facts.checkpoint_system != system.identifier:\n",
        "    if False:\n",
        (_STREAM,),
    ),
    Mutant(
        "move on before a rejected event is parked",
        "relay/core/engine.py",
        "        self._rejections += rejections\n",
        "        self._rejections += rejections\n"
        "        for r in rejections:\n            r.parcel.stretch.in_flight += 1\n"
        "            self.confirmed([r.parcel])\n            self.confirmed([r.parcel])\n",
        (_ENGINE,),
    ),
    Mutant(
        "go on reading after the stop",
        "relay/core/engine.py",
        "            pump.cancel()  # what comes from here on belongs to the next run\n",
        "",
        (_ENGINE,),
    ),
    Mutant(
        "wait for what is held back for standing still",
        "relay/core/engine.py",
        "        if self._fencing.fenced():\n            await self._recover(",
        "        if False:\n            await self._recover(",
        (_ENGINE,),
    ),
    Mutant(
        "forget the end of a stream that came with data",
        "relay/sources/wal/replication.py",
        "                self._end = self._ended(self._pgconn.get_result())\n",
        "                if frames:\n                    break\n"
        "                raise self._ended(self._pgconn.get_result())\n",
        (_WAL,),
    ),
    Mutant(
        "publish after standing still",
        "relay/core/engine.py",
        "            self._publisher.forget()\n",
        "",
        (_ENGINE,),
    ),
)


def main() -> int:
    """Run every mutant, or those whose names contain the arguments; return 0 when each was caught."""
    chosen = [m for m in MUTANTS if not sys.argv[1:] or any(word in m.name for word in sys.argv[1:])]
    survived = [mutant.name for mutant in chosen if not _caught(mutant)]
    sys.stdout.write(f"{len(chosen) - len(survived)} of {len(chosen)} mutants caught\n")
    return 1 if survived or not chosen else 0


def _caught(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for name in (*_PACKAGES, "docker"):
            if (_ROOT / name).exists():
                shutil.copytree(_ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(_ROOT / "pyproject.toml", copy)
        target = copy / mutant.file
        text = target.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            _say("STALE", mutant, f"its text stands {text.count(mutant.old)} times in {mutant.file}")
            return False
        target.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests]
        environment = {**os.environ, "PYTHONPATH": scratch}
        try:
            done = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            _say("caught", mutant, f"the tests did not end within {_SECONDS} s")
            return True
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    caught = done.returncode == 1 and bool(failed)
    by = failed[0].split(" - ")[0] if failed else done.stdout[-300:]
    _say("caught" if caught else "SURVIVED", mutant, by)
    return caught


def _say(verdict: str, mutant: Mutant, why: str) -> None:
    sys.stdout.write(f"{verdict:9} {mutant.name}: {why}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
