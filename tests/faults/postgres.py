"""Postgres stops under load and starts again: by a kill, immediately, fast, or while the broker is away."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import psycopg

from sandbox.machine.waiting import until
from tests.faults import disks
from tests.faults.holds import HOLDS, Hold
from tests.faults.run import REPEATED, Fault, Run

_STOPPING = "Postgres is shutting down"
_RELEASE_AFTER = 3
_NEVER = 600
_MEANWHILE = 5_000
_PARKED = "SELECT count(*) FROM relay.parked"
# The relay's part in a fast stop; what is behind the slot's release is the server's own: its checkpoint, which may take
# longer on a busy machine.
_LETS_GO_WITHIN = 5
_STOPS_WITHIN = 15


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
        began, at = time.monotonic(), datetime.now(UTC)
        run.box.postgres.stop()
        seconds = time.monotonic() - began
        assert seconds < _STOPS_WITHIN, f"the stop took {seconds:.1f} s"
        relay.complains(_STOPPING)
        line = next(line for line in relay.log if _STOPPING in str(line.get("reason")))
        let_go = (datetime.fromisoformat(line["timestamp"]) - at).total_seconds()
        assert let_go < _LETS_GO_WITHIN, f"the relay let the slot go after {let_go:.1f} s"
        assert relay.outlives(run.draw.uniform(0, 2)), relay.tail()
        run.box.postgres.start()
    run.healed()
    run.flows()


def disk_full(run: Run) -> None:
    """Fill the disk while events have to be parked: they wait, and the relay says why."""
    relay = run.streaming_relay(RELAY_ON_RETURN="park")
    with disks.full(run):
        run.tap.unbind()
        relay.complains("disk is full")
        assert relay.outlives(run.draw.uniform(1, 3)), relay.tail()
        assert run.stage.value(_PARKED) == 0
        run.tap.bind()
    run.healed()
    run.flows()
    until(lambda: run.stage.value(_PARKED) > 0, what="what was returned is parked", seconds=15)
    refusals = [line for line in relay.log if line["event"] == "not stored" and line["what"] == "parked events"]
    assert len(refusals) == 1, refusals


def read_only(run: Run) -> None:
    """Let nobody write for a while: no position can be stored, and no event be parked."""
    relay = run.streaming_relay()
    run.commit(_MEANWHILE, "meanwhile")
    run.stop_load()
    with _read_only(run):
        relay.complains("takes no writes")
        assert relay.outlives(run.draw.uniform(0, 4)), relay.tail()
    run.start_load()
    run.healed()
    run.flows()
    assert relay.running, relay.tail()


@contextmanager
def _read_only(run: Run) -> Iterator[None]:
    # This session may still write in the end.
    options = "-c default_transaction_read_only=off"
    with psycopg.connect(run.stage.isolated.database_url, autocommit=True, options=options) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")


FAULTS = (
    Fault("Postgres stopped immediately", stopped_immediately, duplicates=REPEATED),
    Fault("Postgres killed", killed, duplicates=REPEATED),
    Fault("Postgres restarted in order", restarted, duplicates=REPEATED),
    Fault("Postgres stopped while the broker is away", stopped_while_the_broker_is_away, duplicates=REPEATED),
    Fault("disk full while parking", disk_full, duplicates=REPEATED),
    Fault("Postgres read-only for a while", read_only, duplicates=2 * REPEATED),
    *(
        Fault(f"fast stop of Postgres while {what}", partial(stopped_while_held, hold), duplicates=2 * REPEATED)
        for what, hold in HOLDS.items()
    ),
)
