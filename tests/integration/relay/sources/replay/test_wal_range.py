"""A range of the WAL, read from a copy of a slot that lags behind: what is in it, and how it ends."""

import asyncio
import json
import random
from contextlib import ExitStack

import psycopg
import pytest

from outboxkit.errors import Problem
from relay.core.errors import SourceRefused
from relay.core.position import Lsn
from relay.core.replay import Selection, WalRange
from relay.settings import RelaySettings
from relay.sources.replay.wal import NotInSlot, Origin
from sandbox import Isolated
from sandbox.machine import waiting
from tests.integration.relay.operating.slot_stage import slots
from tests.integration.relay.sources.replay.wal_stage import flush, here, lagging, origin, read
from tests.integration.relay.stage import one, publish


@pytest.fixture(params=["wal2json", "pgoutput"])
def lags(request: pytest.FixtureRequest, isolated: Isolated) -> RelaySettings:
    """Return the settings of a relay with each plugin, whose slot has a copy that stays behind."""
    return lagging(isolated, plugin=request.param)


def window(settings: RelaySettings, after: Lsn, until: Lsn, **events: str) -> WalRange:
    return WalRange(f"{settings.slot}_replay", after, until, **events)


def passed(isolated: Isolated, settings: RelaySettings) -> None:
    """Let the relay's slot go on, so that it has nothing of the past."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", [settings.slot])


def place(isolated: Isolated, slot: str) -> str:
    query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
    return str(one(isolated.database_url, query, slot))


def test_it_has_what_committed_between_its_ends_in_commit_order_and_ends_on_an_idle_server(
    isolated: Isolated, lags: RelaySettings
) -> None:
    url = isolated.database_url
    publish(url, "before")
    with psycopg.connect(url) as early, psycopg.connect(url) as late:
        publishes = "SELECT outbox.publish('order', %s, 1, 'paid', '{}')::text"
        begun = early.execute(publishes, ["begun before the range, committed in it"]).fetchone()
        after = here(isolated)
        inside = publish(url, "a", "b")
        late.execute(publishes, ["begun in the range, committed behind it"])
        early.commit()
        with psycopg.connect(url) as other:
            other.execute(publishes, ["rolled back"])
            other.rollback()
        inside_too = publish(url, "c")
        until = here(isolated)
        late.commit()
    publish(url, "behind")
    passed(isolated, lags)
    before = place(isolated, f"{lags.slot}_replay")

    found = asyncio.run(read(lags, window(lags, after, until), origin(isolated)))

    assert begun is not None
    assert found.ids == [*inside, begun[0], *inside_too]
    assert found.boundaries == sorted(found.boundaries)
    assert found.boundaries[-1] == until
    assert place(isolated, f"{lags.slot}_replay") == before


def test_it_goes_on_behind_each_of_its_boundaries_with_what_was_not_read(
    isolated: Isolated, lags: RelaySettings
) -> None:
    after = here(isolated)
    ids = [each for name in "abcd" for each in publish(isolated.database_url, name, name)]
    wanted = window(lags, after, here(isolated))
    flush(isolated)
    of = origin(isolated)
    whole = asyncio.run(read(lags, wanted, of))
    assert whole.ids == ids
    rests = [asyncio.run(read(lags, wanted, of, after=boundary)).ids for boundary in whole.boundaries]
    # There may be one before the first event, too: where another transaction ended.
    assert {tuple(rest) for rest in rests} | {tuple(ids)} == {tuple(ids[first:]) for first in (0, 2, 4, 6, 8)}


def test_an_end_that_is_flushed_and_behind_which_nothing_was_written_is_reached(
    isolated: Isolated, lags: RelaySettings
) -> None:
    after = here(isolated)
    ids = publish(isolated.database_url, "a")
    flush(isolated)
    end = Lsn.parse(one(isolated.database_url, "SELECT pg_current_wal_flush_lsn()::text"))
    assert asyncio.run(read(lags, window(lags, after, end), origin(isolated))).ids == ids


def test_it_begins_and_ends_with_the_events_that_are_named_and_takes_what_is_selected(
    isolated: Isolated, lags: RelaySettings
) -> None:
    after = here(isolated)
    ids = publish(isolated.database_url, "a", "b", "c")
    more = publish(isolated.database_url, "b", "d")
    wanted = window(lags, after, here(isolated), first_event=ids[1], last_event=more[0])
    flush(isolated)
    of = origin(isolated)
    assert asyncio.run(read(lags, wanted, of)).ids == [*ids[1:], more[0]]
    assert asyncio.run(read(lags, wanted, of, selection=Selection("order", "b"))).ids == [ids[1], more[0]]
    assert asyncio.run(read(lags, wanted, of, selection=Selection(event_type="p?i*"))).ids == [*ids[1:], more[0]]
    assert asyncio.run(read(lags, wanted, of, selection=Selection(event_type="shipped"))).ids == []


def test_an_event_that_does_not_come_is_an_error(isolated: Isolated, lags: RelaySettings) -> None:
    after = here(isolated)
    publish(isolated.database_url, "a")
    wanted = window(lags, after, here(isolated), first_event="00000000-0000-0000-0000-000000000000")
    flush(isolated)
    with pytest.raises(Problem, match="event 00000000-0000-0000-0000-000000000000 is not in the WAL between"):
        asyncio.run(read(lags, wanted, origin(isolated)))


def test_a_slot_that_does_not_have_the_begin_is_no_source_and_the_oldest_position_is_named(
    isolated: Isolated, lags: RelaySettings
) -> None:
    after = here(isolated)
    publish(isolated.database_url, "a")
    until = here(isolated)
    passed(isolated, lags)
    oldest = place(isolated, lags.slot)
    with pytest.raises(NotInSlot, match=f"has the WAL from {oldest} on - the oldest .* is --from-lsn {oldest}"):
        asyncio.run(read(lags, WalRange(lags.slot, after, until), origin(isolated)))
    waiting.until(lambda: slots(isolated) == 2, what="the temporary slot is gone", seconds=60)


def test_a_range_of_another_system_or_timeline_is_refused(isolated: Isolated, lags: RelaySettings) -> None:
    wanted, of = window(lags, here(isolated), Lsn(here(isolated) + 1)), origin(isolated)
    with pytest.raises(SourceRefused, match="the range is of system 1, and this is system"):
        asyncio.run(read(lags, wanted, Origin("1", of.timeline)))
    with pytest.raises(SourceRefused, match="the range is of timeline 7, and the server is on timeline"):
        asyncio.run(read(lags, wanted, Origin(of.system_identifier, 7)))


def test_messages_that_have_no_table_are_in_it(isolated: Isolated) -> None:
    settings = lagging(isolated, message_prefix="outbox", source="wal", plugin="wal2json")
    after = here(isolated)
    written = [f"00000000-0000-0000-0000-{number:012}" for number in range(3)]
    with psycopg.connect(isolated.database_url) as connection:
        for each in written:
            event = {
                "id": each, "aggregate_type": "order", "aggregate_id": "a", "aggregate_version": 1,
                "event_type": "paid", "payload": {}, "created_at": "2026-01-01T00:00:00Z",
            }  # fmt: skip
            connection.execute("SELECT pg_logical_emit_message(true, 'outbox', %s)", [json.dumps(event)])
    wanted = window(settings, after, here(isolated))
    flush(isolated)
    assert asyncio.run(read(settings, wanted, origin(isolated))).ids == written


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_every_range_of_a_random_history_is_what_was_committed_in_it(
    isolated: Isolated, plugin: str, seed: int
) -> None:
    """Transactions overlap, some are rolled back, in part or as a whole; the ends of ranges lie between any of them."""
    settings = lagging(isolated, plugin=plugin)
    dice = random.Random(seed)  # noqa: S311 - a history, not a secret
    publishes = "SELECT outbox.publish('order', %s, 1, 'paid', '{}')::text"
    committed: list[str] = []
    ends = [(here(isolated), 0)]
    with ExitStack() as stack:
        sessions = [stack.enter_context(psycopg.connect(isolated.database_url)) for _ in range(4)]
        written: list[list[str]] = [[] for _ in sessions]
        for step in range(80):
            chosen = dice.randrange(len(sessions))
            session, pending = sessions[chosen], written[chosen]
            match dice.choice(["write", "write", "part", "commit", "roll back", "look"]):
                case "write":
                    pending.append(str(session.execute(publishes, [f"{step}"]).fetchall()[0][0]))
                case "part":
                    with session.transaction() as part:
                        session.execute(publishes, ["in a part that is rolled back"])
                        raise psycopg.Rollback(part)
                case "commit":
                    session.commit()
                    committed += pending
                    pending.clear()
                case "roll back":
                    session.rollback()
                    pending.clear()
                case _:
                    ends.append((here(isolated), len(committed)))
        ends.append((here(isolated), len(committed)))
    flush(isolated)
    of = origin(isolated)
    for _ in range(12):
        (after, first), (until, last) = sorted(dice.sample(ends, 2))
        if after < until:
            found = asyncio.run(read(settings, window(settings, after, until), of))
            assert found.ids == committed[first:last]
