"""A relay is killed at each step of a change, and another goes on: nothing is missing, nothing comes twice.

A trigger on the stored row stops the relay's save at the step that a test is about. When the relay is dead, the save is
taken back or takes place after all: the server does not know yet that nobody waits for its answer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString, NamedTuple

import psycopg
import pytest

from sandbox.machine.waiting import until
from tests.support import oracles
from tests.support.commands import Command
from tests.support.oracles import Delivery
from tests.support.stage import Stage
from tests.support.tap import Tap

_BREAKPOINT = 8_675_309
_SECONDS = 60
_STOP: LiteralString = """
CREATE FUNCTION relay.stop_here() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared(8675309); RETURN NEW; END $$;
CREATE TRIGGER stop_here BEFORE UPDATE ON relay.checkpoint FOR EACH ROW WHEN ({}) EXECUTE FUNCTION relay.stop_here()
"""
_STOPPED = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 8675309 AND NOT granted"
_INTENT: LiteralString = "NEW.making_slot AND NOT OLD.making_slot"
_BACK: LiteralString = "NEW.mode = 'wal' AND OLD.mode = 'polling'"
_FILTERED: LiteralString = "NEW.mode = 'wal' AND OLD.filter_end IS NOT NULL AND NEW.filter_end IS NULL"
_FENCED: LiteralString = "NEW.mode = 'wal' AND OLD.mode = 'wal' AND NEW.snapshot::text <> OLD.snapshot::text"
_POLLED: LiteralString = "NEW.mode = 'polling' AND OLD.mode = 'wal'"


class Broken(NamedTuple):
    """What is wrong in the end."""

    missing: set[str]
    ghosts: set[str]
    disorder: list[Delivery]
    duplicates: int


RIGHT = Broken(set(), set(), [], 0)


class Steps:
    """A relay that is set up, and what it is driven with."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.slot = stage.isolated.name
        self.tap = Tap(stage.isolated.amqp_url, queue=stage.isolated.queue("tap"), exchange=self.slot)
        self._written = 0

    def start(self) -> Command:
        """Start a relay that goes back to the WAL as soon as it can."""
        return self.stage.start(
            "relay", "run", RELAY_RETURN_AFTER="0.1", RELAY_SLOTS_PER_HOUR="100", RELAY_POLL_INTERVAL="0.1"
        )

    def publish(self) -> None:
        """Commit a few events of one aggregate, and wait until they are published."""
        statement = "SELECT outbox.publish('thing', '1', %s, 'changed', '{}')"
        for _ in range(3):
            self._written += 1
            self.stage.query(statement, self._written)
        self.tap.grows(self._written - 1, seconds=_SECONDS)

    def ask(self, mode: str) -> None:
        """Ask for a source as `relay switch` does."""
        self.stage.query("UPDATE relay.checkpoint SET wanted = %s RETURNING 1", mode)

    def when(self, condition: LiteralString, what: str) -> None:
        """Wait until the stored row is so."""
        until(
            lambda: self.stage.query(f"SELECT 1 FROM relay.checkpoint WHERE {condition}"),  # noqa: S608 - a condition of a test
            what=what, seconds=_SECONDS,
        )  # fmt: skip

    def stored(self) -> None:
        """Wait until the row says that all that is committed was published."""
        now = self.stage.value("SELECT max(tx::text::bigint) FROM outbox.event")
        until(
            lambda: self.stage.query(
                "SELECT 1 FROM relay.checkpoint WHERE pg_visible_in_snapshot(%s::text::xid8, snapshot)", str(now)
            ),
            what="all is stored", seconds=_SECONDS,
        )  # fmt: skip

    def polls(self) -> Command:
        """Start a relay that polls; all that is committed is published and stored, and it has no slot."""
        self.ask("polling")
        relay = self.start()
        self.publish()
        self.stored()
        self.stage.query("SELECT pg_drop_replication_slot(%s)", self.slot)
        return relay

    def streams(self) -> Command:
        """Start a relay that streams; all that is committed is published, and a fence behind it is stored."""
        relay = self.start()
        self.when("mode = 'wal' AND filter_end IS NULL", "the relay streams")
        self.publish()
        self.stored()
        return relay

    @contextmanager
    def stopped(self, condition: LiteralString, *, takes_place: bool) -> Iterator[None]:
        """Stop the first save that meets `condition`; at the end of the block, when the relay is dead, let it be."""
        with psycopg.connect(self.stage.isolated.database_url, autocommit=True) as connection:
            connection.execute(_STOP.format(condition))
            connection.execute("SELECT pg_advisory_lock(%s)", [_BREAKPOINT])
            yield
            # One, or two: a relay that has waited for ten seconds saves once more, in another session.
            saving = [pid for (pid,) in self.saving()]
            assert saving
            if not takes_place:
                connection.execute("SELECT pg_terminate_backend(pid, 60000) FROM unnest(%s::int[]) AS pid", [saving])
            connection.execute("SELECT pg_advisory_unlock(%s)", [_BREAKPOINT])
            until(
                lambda: not connection.execute("SELECT FROM pg_stat_activity WHERE pid = ANY(%s)", [saving]).rowcount,
                what="the dead relay's session has ended", seconds=_SECONDS,
            )  # fmt: skip
            connection.execute("DROP FUNCTION relay.stop_here CASCADE")

    def saving(self) -> list[Any]:
        """Return the server process whose save is stopped."""
        return self.stage.query(_STOPPED)

    def kill(self, relay: Command) -> None:
        """Kill the relay when its save is stopped."""
        until(self.saving, what="the save is stopped", seconds=_SECONDS)
        relay.kill()

    def goes_on(self, mode: LiteralString = "wal") -> Broken:
        """Start another relay, and let it come to the end of the change."""
        relay = self.start()
        self.publish()
        self.when(f"mode = '{mode}' AND NOT making_slot AND filter_end IS NULL", f"the relay reads {mode}")
        self.publish()
        self.stored()  # the queue's length counts what came twice, too
        assert relay.terminate() == 0, relay.tail()
        deliveries = self.tap.drain()
        committed = [str(row[0]) for row in self.stage.query("SELECT id FROM outbox.event")]
        found = [each.message for each in deliveries]
        return Broken(
            oracles.lost(committed, found), oracles.ghosts(committed, found), oracles.out_of_order(deliveries),
            oracles.duplicates(deliveries),
        )  # fmt: skip


@pytest.fixture
def steps(stage: Stage) -> Steps:
    return Steps(stage)


@pytest.mark.parametrize("takes_place", [False, True], ids=["not stored", "stored"])
def test_killed_at_the_intent(steps: Steps, takes_place: bool) -> None:  # noqa: FBT001 - a parameter of the test
    relay = steps.polls()
    with steps.stopped(_INTENT, takes_place=takes_place):
        steps.ask("auto")
        steps.kill(relay)
    assert steps.stage.value("SELECT making_slot FROM relay.checkpoint") is takes_place
    assert steps.goes_on() == RIGHT


@pytest.mark.parametrize("ends", [False, True], ids=["still being made", "gone"])
def test_killed_while_the_slot_is_being_made(steps: Steps, ends: bool) -> None:  # noqa: FBT001 - a parameter of the test
    relay = steps.polls()
    slot = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s"
    with psycopg.connect(steps.stage.isolated.database_url) as open_:
        open_.execute("SELECT outbox.publish('other', '1', 1, 'changed', '{}')")
        steps.ask("auto")
        until(lambda: steps.stage.query(slot, steps.slot), what="the slot is being made", seconds=_SECONDS)
        relay.kill()
        if ends:
            until(lambda: not steps.stage.query(slot, steps.slot), what="its maker has ended", seconds=_SECONDS)
        other = steps.start()
        steps.publish()  # while the slot cannot be made
        assert steps.stage.value("SELECT mode FROM relay.checkpoint") == "polling"
        steps.stored()
        other.kill()
    assert steps.goes_on() == RIGHT


@pytest.mark.parametrize("takes_place", [False, True], ids=["not stored", "stored"])
def test_killed_when_n_and_f_are_stored(steps: Steps, takes_place: bool) -> None:  # noqa: FBT001 - a parameter of the test
    relay = steps.polls()
    with steps.stopped(_BACK, takes_place=takes_place):
        steps.ask("auto")
        steps.kill(relay)
    mode = "wal" if takes_place else "polling"
    assert steps.stage.query("SELECT mode, making_slot, filter_end IS NOT NULL FROM relay.checkpoint") == [
        (mode, not takes_place, takes_place)
    ]
    assert steps.goes_on() == RIGHT


def test_killed_when_n_and_f_are_stored_and_the_slot_is_gone_then(steps: Steps) -> None:
    relay = steps.polls()
    with steps.stopped(_BACK, takes_place=True):
        steps.ask("auto")
        steps.kill(relay)
    steps.stage.query("SELECT pg_drop_replication_slot(%s)", steps.slot)
    assert steps.goes_on() == RIGHT


@pytest.mark.parametrize("takes_place", [False, True], ids=["not stored", "stored"])
def test_killed_in_the_filter(steps: Steps, takes_place: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """What was streamed behind the stored position comes again if it was not stored: three events at most."""
    relay = steps.polls()
    with steps.stopped(_FILTERED, takes_place=takes_place):
        steps.ask("auto")
        until(steps.saving, what="the save is stopped", seconds=_SECONDS)
        steps.publish()  # streamed, while what ends the filter cannot be stored
        steps.kill(relay)
    *wrong, duplicates = steps.goes_on()
    assert wrong == [*RIGHT[:3]]
    assert duplicates <= 3


@pytest.mark.parametrize("takes_place", [False, True], ids=["not stored", "stored and not reported"])
def test_killed_when_a_fence_is_confirmed(steps: Steps, takes_place: bool) -> None:  # noqa: FBT001 - a parameter of the test
    relay = steps.streams()
    with steps.stopped(_FENCED, takes_place=takes_place):
        steps.kill(relay)
    assert steps.goes_on() == RIGHT


@pytest.mark.parametrize("takes_place", [False, True], ids=["not stored", "stored"])
def test_killed_at_the_change_to_polling(steps: Steps, takes_place: bool) -> None:  # noqa: FBT001 - a parameter of the test
    relay = steps.streams()
    with steps.stopped(_POLLED, takes_place=takes_place):
        steps.ask("polling")
        steps.kill(relay)
    assert steps.goes_on("polling") == RIGHT
