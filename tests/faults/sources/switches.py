"""The relay is killed or frozen at each step to polling and back; another one goes on from what is stored."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import psycopg

from sandbox.machine.waiting import until
from tests.faults.processes import FIRST, Publishes
from tests.faults.run import REPEATED, Fault, Run
from tests.faults.sources.slots import drops
from tests.faults.sources.watching import SOON, reads, streaming

_LATE = {"RELAY_RETURN_AFTER": "600"}
_KILLS = 4
_TAKES_OVER = 20
"""Seconds in which a standby takes over from one that is frozen: its session ends after ten, and the next look is two
seconds later at the latest."""
_STAYS_FROZEN = 3
_HALF_MADE = (
    "SELECT 1 FROM pg_replication_slots, relay.checkpoint "
    "WHERE slot_name = %s AND confirmed_flush_lsn IS NULL AND making_slot"
)

Step = Callable[[Run], Iterator[None]]


def polls(run: Run) -> Iterator[None]:
    """Hold it where it polls, and no slot is made."""
    _drop(run)
    reads(run, "polling")
    run.flows()
    yield


def makes_a_slot(run: Run) -> Iterator[None]:
    """Hold it where its slot is half made: a transaction is open that has an id."""
    with psycopg.connect(run.stage.isolated.database_url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        _drop(run)
        until(lambda: run.stage.query(_HALF_MADE, run.stage.isolated.name), what="a slot is being made", seconds=30)
        yield


def has_gone_back(run: Run) -> Iterator[None]:
    """Catch it where it has just stored that the WAL goes on."""
    _drop(run)
    reads(run, "polling")
    reads(run, "wal")
    yield


def killed(step: Step, settings: dict[str, str], run: Run) -> None:
    """Kill it at `step`, and start another."""
    relay = run.streaming_relay(**settings)
    with contextmanager(step)(run):
        relay.kill()
        run.start_relay(**SOON).logged("streaming", seconds=60)
        run.flows()
    run.healed()
    reads(run, "wal")
    run.flows()


def frozen(step: Step, settings: dict[str, str], run: Run) -> None:
    """Freeze it at `step` until a standby has taken over; when it is woken, it must publish nothing."""
    publishes = Publishes()
    run.listen(publishes)
    first = run.streaming_relay(**settings)
    second = run.start_relay(**SOON)
    second.logged("standby", seconds=60)
    with contextmanager(step)(run):
        first.process.send_signal(signal.SIGSTOP)
        second.logged("streaming", seconds=_TAKES_OVER)
        run.flows()
    reads(run, "wal")
    assert second.outlives(_STAYS_FROZEN), second.tail()
    before = publishes.on[FIRST]
    first.process.send_signal(signal.SIGCONT)
    run.healed()
    first.logged("standby")
    run.flows()
    assert publishes.on[FIRST] == before, "it published after it was woken"
    assert second.terminate() == 0, second.tail()
    run.flows()


def killed_at_random(run: Run) -> None:
    """Drop the slot and kill the relay at any moment after it, again and again."""
    relay = streaming(run, **_MANY_SLOTS)
    for _ in range(_KILLS):
        _drop(run)
        assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
        relay.kill()
        relay = run.start_relay(**SOON, **_MANY_SLOTS)
        relay.streams()
    run.healed()
    run.flows()


_MANY_SLOTS = {"RELAY_SLOTS_PER_HOUR": "100"}


def _drop(run: Run) -> None:
    until(lambda: drops(run), what="the slot is dropped", seconds=20)


_STEPS = {
    "polls": (polls, _LATE),
    "makes a slot": (makes_a_slot, SOON),
    "has gone back to the WAL": (has_gone_back, SOON),
}

FAULTS = (
    *(
        Fault(f"relay killed when it {what}", partial(killed, *step), duplicates=2 * REPEATED)
        for what, step in _STEPS.items()
    ),
    *(
        Fault(f"relay frozen when it {what}", partial(frozen, *step), duplicates=2 * REPEATED)
        for what, step in _STEPS.items()
    ),
    Fault("relay killed at random while it switches", killed_at_random, duplicates=2 * _KILLS * REPEATED),
)
