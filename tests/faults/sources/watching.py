"""Which source the relay reads, as its stored position says, and the changes that it has noted."""

from typing import NamedTuple

from sandbox.machine.waiting import until
from tests.faults.run import Run
from tests.support.commands import Command

SOON = {"RELAY_RETURN_AFTER": "1"}
"""The settings of a relay that goes back as soon as the WAL has been fine for a second."""
_CHANGES = "SELECT from_mode, to_mode, reason, detail FROM relay.handover ORDER BY number"
_MODE = "SELECT mode FROM relay.checkpoint"
_SECONDS = 30.0

NEW = "over a new slot"
KEPT = "over the slot that was kept"
AS_IT_STANDS = "over the slot as it stands"


class Change(NamedTuple):
    """A row of relay.handover."""

    source: str
    to: str
    reason: str
    detail: str


def streaming(run: Run, **settings: str) -> Command:
    """Start a relay that goes back soon, and wait until it streams."""
    return run.streaming_relay(**SOON, **settings)


def reads(run: Run, mode: str, *, seconds: float = _SECONDS) -> None:
    """Wait until the stored position is one of `mode`: wal or polling."""
    until(lambda: run.stage.value(_MODE) == mode, what=f"the relay reads {mode}", seconds=seconds, every=0.01)


def polls_and_goes_back(run: Run, reason: str, over: str) -> None:
    """Wait until the relay, which polls, is back at the WAL; it must have changed once each way, and say why."""
    reads(run, "wal")
    changes = until(lambda: _of(run, 2), what="both changes are noted", seconds=_SECONDS)
    assert changes[0][:3] == ("wal", "polling", reason), changes
    assert (changes[1].source, changes[1].to, changes[1].detail) == ("polling", "wal", over), changes
    run.flows()
    assert len(all_changes(run)) == _FIRST + 2, all_changes(run)


def all_changes(run: Run) -> list[Change]:
    """Return every change so far; the first one is that of the first start."""
    return [Change(*row) for row in run.stage.query(_CHANGES)]


def _of(run: Run, count: int) -> list[Change]:
    """Return the first `count` changes after that of the first start, if there are as many."""
    found = all_changes(run)[_FIRST:]
    return found if len(found) >= count else []


_FIRST = 1
