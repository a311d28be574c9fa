"""The standby takes over, without the slot, with a copy of it, or behind what was published; or it is away.

What the standby does not have is gone. All that it has, and all that is committed on it, must arrive in order, whatever
the relay remembers, and an audit finds nothing: what was confirmed and is gone is recorded nowhere.
"""

import psycopg

from sandbox.machine.waiting import until
from tests.faults.pair import servers
from tests.faults.run import REPEATED, Fault, Run
from tests.faults.sources.slots import drops
from tests.faults.sources.watching import NEW, SOON, all_changes, polls_and_goes_back, reads, streaming

ENDINGS = ("killed", "stopped immediately", "stopped in order")
"""How a primary ends. After the last one, the standby has all that it had."""
_COPIED = (
    "SELECT 1 FROM pg_replication_slots "
    "WHERE slot_name = %s AND synced AND NOT temporary AND invalidation_reason IS NULL"
)
_COPIED_WITHIN = 150
"""A copy lasts once the slot's restart_lsn has passed what the standby has: Postgres moves it every 15 seconds at most,
and the standby looks every 30 seconds at most (slotsync.c)."""
_RECOVERS_WITHIN = 60
SOON_AFTER = 30
"""Seconds in which messages flow again."""
_RETURNS_AFTER = "10"
"""Longer than a promotion takes."""


def without_the_slot(run: Run) -> None:
    """Let the relay find no slot there: it polls from the snapshot that was replicated, and makes a slot."""
    streaming(run)
    take_over(run, ending=run.draw.choice(ENDINGS))
    run.healed()
    polls_and_goes_back(run, "slot missing", NEW)
    note_what_is_gone(run)
    assert not run.stage.audited()


def while_no_relay_runs(run: Run) -> None:
    """Start a relay afterwards, which knows only what was replicated."""
    relay = streaming(run)
    run.flows()
    relay.kill()
    take_over(run, ending=run.draw.choice(ENDINGS))
    run.start_relay(**SOON)
    run.healed()
    polls_and_goes_back(run, "slot missing", NEW)
    note_what_is_gone(run)
    assert not run.stage.audited()


def while_the_relay_polls(run: Run) -> None:
    """Drop its slot before: it polls on from the snapshot that it has polled up to, and that was replicated."""
    run.streaming_relay(RELAY_RETURN_AFTER=_RETURNS_AFTER)
    until(lambda: drops(run), what="the slot is dropped", seconds=20)
    reads(run, "polling")
    run.flows()
    take_over(run, ending=run.draw.choice(ENDINGS))
    run.healed()
    run.flows(seconds=SOON_AFTER)
    reads(run, "wal", seconds=_RECOVERS_WITHIN)
    until(lambda: all_changes(run)[-1].detail == NEW, what="the relay has noted its new slot", seconds=10)
    note_what_is_gone(run)
    assert not run.stage.audited()


def with_a_copy_of_the_slot(run: Run) -> None:
    """Let the relay stream on from the copy. Nothing may be published that the new primary does not have."""
    streaming(run)
    until(lambda: _is_copied(run), what="the standby has a copy of the slot", seconds=_COPIED_WITHIN)
    before = len(all_changes(run))
    take_over(run, ending=run.draw.choice(ENDINGS))
    run.healed()
    run.flows(seconds=SOON_AFTER)
    reads(run, "wal")
    assert not [change for change in all_changes(run)[before:] if change.detail == NEW], all_changes(run)
    assert not run.stage.audited()


def away_while_the_stream_waits_for_it(run: Run) -> None:
    """Stop the standby and start it again: meanwhile nothing is published, since a failover could lose it."""
    relay = streaming(run)
    standby = servers.of(run).standby
    standby.stop()
    assert relay.outlives(2), relay.tail()
    before = run.tap.waiting()
    assert relay.outlives(run.draw.uniform(1, 4)), relay.tail()
    assert run.tap.waiting() == before, "something was published that the standby does not have"
    standby.start()
    run.healed()
    run.flows(seconds=SOON_AFTER)
    assert not run.stage.audited()


def behind_what_was_published(run: Run) -> None:
    """Keep the standby away for a while: what is committed and published meanwhile is gone."""
    streaming(run)
    pair = servers.of(run)
    pair.catch_up()
    pair.standby.stop()
    run.flows()
    take_over(run, ending="killed")
    run.healed()
    polls_and_goes_back(run, "slot missing", NEW)
    note_what_is_gone(run)
    assert run.gone, "the standby did not lag, so nothing was tested"
    assert not run.stage.audited()


def take_over(run: Run, *, ending: str) -> None:
    """End the primary and promote the standby. The relays' address moves to it before that, or after it."""
    pair = servers.of(run)
    if run.draw.random() < 0.5:  # some load balancers do
        run.postgres.redirect(pair.standby.url)
    match ending:
        case "killed":
            pair.primary.kill()
        case "stopped immediately":
            pair.primary.stop("immediate")
        case _:
            pair.primary.stop()
    pair.promote()
    run.move(pair.primary.url)
    run.postgres.cut()


def note_what_is_gone(run: Run) -> None:
    """Start the server that was the primary, which nobody knows any more, and note what it alone has."""
    pair = servers.of(run)
    pair.standby.start()
    run.gone |= servers.events(pair.standby) - servers.events(pair.primary)
    pair.standby.stop("immediate")


def _is_copied(run: Run) -> bool:
    with psycopg.connect(servers.of(run).standby.url, autocommit=True) as connection:
        return connection.execute(_COPIED, [run.stage.isolated.name]).fetchone() is not None


FAULTS = (
    Fault(
        "standby promoted without the slot",
        without_the_slot,
        duplicates=REPEATED,
        recovers_within=_RECOVERS_WITHIN,
        servers=servers.started(),
    ),
    Fault(
        "standby promoted while no relay runs",
        while_no_relay_runs,
        duplicates=REPEATED,
        recovers_within=_RECOVERS_WITHIN,
        servers=servers.started(),
    ),
    Fault(
        "standby promoted while the relay polls",
        while_the_relay_polls,
        duplicates=2 * REPEATED,
        recovers_within=_RECOVERS_WITHIN,
        servers=servers.started(),
    ),
    Fault(
        "standby promoted with a copy of the slot",
        with_a_copy_of_the_slot,
        duplicates=REPEATED,
        recovers_within=_RECOVERS_WITHIN,
        servers=servers.started(copies=True),
        settings={"RELAY_SLOT_FAILOVER": "true"},
        since=servers.COPIES_SLOTS,
    ),
    Fault(
        "standby away while the stream waits for it",
        away_while_the_stream_waits_for_it,
        duplicates=REPEATED,
        servers=servers.started(synchronous=False, copies=True),
        settings={"RELAY_SLOT_FAILOVER": "true"},
        since=servers.COPIES_SLOTS,
    ),
    Fault(
        "standby promoted behind what was published",
        behind_what_was_published,
        duplicates=REPEATED,
        recovers_within=_RECOVERS_WITHIN,
        servers=servers.started(synchronous=False),
    ),
)
