"""The old primary comes back: as a standby that takes over again, or as a primary at the relays' address."""

import psycopg

from sandbox.machine.waiting import until
from sandbox.servers.postgres import Postgres
from tests.faults.pair import servers
from tests.faults.pair.promotions import ENDINGS, SOON_AFTER, note_what_is_gone, take_over
from tests.faults.run import REPEATED, Fault, Run
from tests.faults.sources.watching import NEW, Change, all_changes, polls_and_goes_back, reads, streaming

_ACTIVE = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
_TWICE = 5
"""The first start, and two changes for each promotion."""
_RECOVERS_WITHIN = 60


def with_its_slot(run: Run) -> None:
    """Switch over in order and back: the old primary still has the relay's slot, from before."""
    streaming(run)
    take_over(run, ending="stopped in order")
    polls_and_goes_back(run, "slot missing", NEW)
    pair = servers.of(run)
    pair.follow()
    pair.catch_up()
    take_over(run, ending="stopped in order")
    run.healed()
    run.flows(seconds=SOON_AFTER)
    reads(run, "wal")
    assert not run.stage.audited()


def as_a_new_copy(run: Run) -> None:
    """Fail over and back: what the old primary alone had is thrown away, and it is copied from the new one."""
    streaming(run)
    take_over(run, ending="killed")
    polls_and_goes_back(run, "slot missing", NEW)
    note_what_is_gone(run)
    pair = servers.of(run)
    pair.copy_again()
    pair.catch_up()
    pair.make_synchronous()
    take_over(run, ending=run.draw.choice(ENDINGS))
    run.healed()
    changes = until(lambda: _of(run, _TWICE), what="the relay has changed its source twice more", seconds=60)
    assert (changes[-2].reason, changes[-1].detail) == ("slot missing", NEW), changes
    run.flows()
    note_what_is_gone(run)
    assert not run.stage.audited()


def at_the_address(run: Run) -> None:
    """Let the relay reach the old primary for a while, which takes writes too: nobody fenced it."""
    relay = streaming(run)
    take_over(run, ending="killed")
    polls_and_goes_back(run, "slot missing", NEW)
    before = len(all_changes(run))
    pair = servers.of(run)
    pair.standby.start()
    run.gone |= servers.events(pair.standby) - servers.events(pair.primary)
    run.postgres.redirect(pair.standby.url)
    run.postgres.cut()
    until(lambda: _streams_from(run, pair.standby), what="the relay reads the old primary", seconds=30)
    assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
    run.postgres.redirect(pair.primary.url)
    run.postgres.cut()
    pair.standby.stop("immediate")
    run.healed()
    run.flows(seconds=SOON_AFTER)
    assert len(all_changes(run)) == before, all_changes(run)
    assert not run.stage.audited()


def _of(run: Run, count: int) -> list[Change]:
    found = all_changes(run)
    return found if len(found) >= count else []


def _streams_from(run: Run, server: Postgres) -> bool:
    with psycopg.connect(server.url, autocommit=True) as connection:
        return connection.execute(_ACTIVE, [run.stage.isolated.name]).fetchone() == (True,)


FAULTS = (
    Fault(
        "old primary takes over again with its slot",
        with_its_slot,
        duplicates=2 * REPEATED,
        recovers_within=_RECOVERS_WITHIN,
        servers=servers.started(),
    ),
    Fault(
        "old primary takes over again as a new copy",
        as_a_new_copy,
        duplicates=2 * REPEATED,
        recovers_within=_RECOVERS_WITHIN,
        servers=servers.started(),
    ),
    Fault(
        "old primary back at the address of the new one",
        at_the_address,
        duplicates=3 * REPEATED,
        recovers_within=_RECOVERS_WITHIN,
        servers=servers.started(synchronous=False),
    ),
)
