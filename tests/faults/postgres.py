"""Postgres stops under load and starts again: by a kill, immediately, fast, or while the broker is away."""

import time
from functools import partial

from tests.faults.holds import HOLDS, Hold
from tests.faults.run import REPEATED, Fault, Run

_RELEASE_AFTER = 3
_NEVER = 600
# From the slot's release to the end of a fast stop: its checkpoint, on a busy machine.
_STOPS_WITHIN = 5


def stopped_immediately(run: Run) -> None:
    """Stop it without a checkpoint; it recovers at its start."""
    run.streaming_relay()
    run.box.postgres.stop("immediate")
    run.box.postgres.start()
    run.healed()
    run.flows()


def killed(run: Run) -> None:
    """Kill all its processes at once."""
    run.streaming_relay()
    run.box.postgres.kill()
    run.box.postgres.start()
    run.healed()
    run.flows()


def restarted(run: Run) -> None:
    """Restart it with a fast shutdown, which waits until the relay has confirmed everything."""
    run.streaming_relay()
    run.box.postgres.stop()
    run.box.postgres.start()
    run.healed()
    run.flows()


def stopped_while_the_broker_is_away(run: Run) -> None:
    """Shut it down when nothing can be confirmed: the relay releases its slot."""
    run.streaming_relay(RELAY_RELEASE_SLOT_AFTER=str(_RELEASE_AFTER))
    run.broker.refuse.set()
    run.broker.cut()
    began = time.monotonic()
    run.box.postgres.stop()
    seconds = time.monotonic() - began
    assert seconds < _RELEASE_AFTER + _STOPS_WITHIN, f"the stop took {seconds:.1f} s"
    run.box.postgres.start()
    run.broker.refuse.clear()
    run.healed()
    run.flows()


def stopped_while_held(hold: Hold, run: Run) -> None:
    """Shut it down while nothing can be confirmed: it announces that, and the relay lets the slot go at once."""
    relay = run.streaming_relay(RELAY_ON_RETURN="retry", RELAY_RELEASE_SLOT_AFTER=str(_NEVER))
    with hold(run):
        assert relay.outlives(run.draw.uniform(0, 2)), relay.tail()
        began = time.monotonic()
        run.box.postgres.stop()
        seconds = time.monotonic() - began
        assert seconds < _STOPS_WITHIN, f"the stop took {seconds:.1f} s"
        relay.complains("Postgres is shutting down")
        assert relay.outlives(run.draw.uniform(0, 2)), relay.tail()
        run.box.postgres.start()
    run.healed()
    run.flows()


FAULTS = (
    Fault("Postgres stopped immediately", stopped_immediately, duplicates=REPEATED),
    Fault("Postgres killed", killed, duplicates=REPEATED),
    Fault("Postgres restarted in order", restarted, duplicates=REPEATED),
    Fault("Postgres stopped while the broker is away", stopped_while_the_broker_is_away, duplicates=REPEATED),
    *(
        Fault(f"fast stop of Postgres while {what}", partial(stopped_while_held, hold), duplicates=2 * REPEATED)
        for what, hold in HOLDS.items()
    ),
)
