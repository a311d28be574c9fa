"""Events that cannot be applied: tried again, parked, redriven and discarded; and what others of the aggregate do."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from consumers.events.declaring.event import Event
from consumers.events.declaring.registry import By, EventHandlers
from sandbox import Isolated
from tests.integration.consumers.events.stage import INSERT, Sent, Stage, aggregate, row

FAST = {"events_attempts": 3, "events_retry_after": 0.1, "events_retry_cap": 0.2, "events_gap_wait": 0.5}
PARKED = "SELECT count(*) FROM inbox.parked WHERE applied_at IS NULL AND discarded_at IS NULL AND asked_at IS NULL"
COUNT = "SELECT count(*) FROM applied"


class Planted(EventHandlers):
    """Handlers `first` and `second`, of which `first` raises for versions in `broken`."""

    def __init__(self, *, by: By = "message", error: BaseException | None = None, threads: bool = False) -> None:
        super().__init__()
        self.broken: set[int] = set()
        self.calls: Counter[int] = Counter()

        def planted(event: Event) -> None:
            self.calls[event.aggregate_version] += 1
            if event.aggregate_version in self.broken:
                raise error or ValueError("planted")

        if threads:

            @self.on("order.*", by=by, name="first")
            def first_in_a_thread(event: Event, connection: psycopg.Connection[Any]) -> None:
                connection.execute(INSERT, row("first", event))
                planted(event)

        else:

            @self.on("order.*", by=by, name="first")
            async def first(event: Event, connection: psycopg.AsyncConnection[Any]) -> None:
                await connection.execute(INSERT, row("first", event))
                planted(event)

        @self.on("order.*", name="second")
        def second(event: Event, connection: psycopg.Connection[Any]) -> None:
            connection.execute(INSERT, row("second", event))


def versions(stage: Stage, handler: str) -> list[int]:
    return [version for _, version in stage.applied(handler)]


@pytest.mark.parametrize("error", [None, SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
@pytest.mark.parametrize("threads", [False, True])
def test_whatever_a_handler_raises_is_rolled_back_tried_again_and_parked_and_the_other_handler_goes_on(
    isolated: Isolated, error: BaseException | None, *, threads: bool
) -> None:
    stage, handlers = Stage(isolated), Planted(error=error, threads=threads)
    handlers.broken = {2}

    async def play() -> None:
        async with stage.running(handlers, **FAST):
            await stage.publish(aggregate("a", (1, 2, 3)))
            await stage.until(PARKED, 1)
            await stage.until(COUNT, 5)

    asyncio.run(play())
    assert versions(stage, "first") == [1, 3]  # by message: later events go on, after it was parked
    assert versions(stage, "second") == [1, 2, 3]
    assert handlers.calls[2] == 3
    assert [each[:3] for each in stage.parked()] == [("first", 2, "failed")]
    assert stage.counted("first", "failed") == 3
    assert stage.counted("first", "parked") == 1


def test_an_event_that_is_applied_at_a_later_attempt_holds_those_behind_it_meanwhile(isolated: Isolated) -> None:
    stage, handlers = Stage(isolated), Planted()
    handlers.broken = {1}

    async def play() -> None:
        async with stage.running(handlers, **{**FAST, "events_attempts": 100}):
            await stage.publish([*aggregate("a", (1, 2, 3)), *aggregate("b", (2,))])
            await stage.until("SELECT count(*) FROM applied WHERE handler = 'first' AND aggregate_id = 'b'", 1)
            await stage.counts("first", "failed", 2)
            assert stage.rows("SELECT count(*) FROM applied WHERE handler = 'first' AND aggregate_id = 'a'") == [(0,)]
            handlers.broken = set()
            await stage.until("SELECT count(*) FROM applied WHERE handler = 'first' AND aggregate_id = 'a'", 3)

    asyncio.run(play())
    assert [version for name, version in stage.applied("first") if name == "a"] == [1, 2, 3]


def test_a_parked_event_is_not_applied_by_another_delivery_but_when_it_is_redriven(
    isolated: Isolated, tmp_path: Path
) -> None:
    stage, handlers = Stage(isolated), Planted()
    handlers.broken = {1}
    event = Sent("a", 1)

    async def play() -> None:
        async with stage.running(handlers, **FAST):
            await stage.publish([event])
            await stage.until(PARKED, 1)
            handlers.broken = set()
            await stage.publish([event])
            await stage.counts("first", "duplicate", 1)
            assert versions(stage, "first") == []
            ((_, _, _, number),) = stage.parked()
            redrive = stage.command(tmp_path, "events", "parked", "redrive", str(number), "--yes", "--json")
            assert redrive.ended() == 0, redrive.tail()
            assert json.loads(redrive.stdout) == {"dry_run": False, "matched": 1, "redriven": 1, "numbers": [number]}
            await stage.until("SELECT count(*) FROM inbox.parked WHERE applied_at IS NOT NULL", 1)
            again = stage.command(tmp_path, "events", "parked", "redrive", str(number))
            assert again.ended() == 1
            assert "they do not wait" in again.stderr

    asyncio.run(play())
    assert versions(stage, "first") == [1]
    assert versions(stage, "second") == [1]  # the other handler did not get it again


def test_a_redriven_event_that_fails_again_is_parked_again_with_its_new_error(isolated: Isolated) -> None:
    stage, handlers = Stage(isolated), Planted()
    handlers.broken = {1}

    async def play() -> None:
        async with stage.running(handlers, **FAST):
            await stage.publish([Sent("a", 1)])
            await stage.until(PARKED, 1)
            stage.rows("UPDATE inbox.parked SET asked_at = clock_timestamp(), error = 'old' RETURNING 1")
            await stage.until("SELECT count(*) FROM inbox.parked WHERE times = 2 AND asked_at IS NULL", 1)

    asyncio.run(play())
    assert stage.rows("SELECT error FROM inbox.parked") == [("ValueError: planted",)]
    assert handlers.calls[1] == 6


def test_with_versions_later_events_are_a_gap_behind_a_parked_one_until_all_are_redriven(
    isolated: Isolated, tmp_path: Path
) -> None:
    stage, handlers = Stage(isolated), Planted(by="version")
    handlers.broken = {2}

    async def play() -> None:
        async with stage.running(handlers, **FAST):
            await stage.publish(aggregate("a", (1, 2, 3, 4)))
            await stage.until(PARKED, 3)
            assert [each[:3] for each in stage.parked()] == [
                ("first", 2, "failed"),
                ("first", 3, "gap"),
                ("first", 4, "gap"),
            ]
            handlers.broken = set()
            redrive = stage.command(tmp_path, "events", "parked", "redrive", "--all", "--yes")
            assert redrive.ended() == 0, redrive.tail()
            await stage.until("SELECT count(*) FROM applied WHERE handler = 'first'", 4)

    asyncio.run(play())
    assert versions(stage, "first") == [1, 2, 3, 4]
    assert stage.parked() == []


def test_discarding_the_failed_one_lets_those_behind_it_be_applied(isolated: Isolated, tmp_path: Path) -> None:
    stage, handlers = Stage(isolated), Planted(by="version")
    handlers.broken = {1}

    async def play() -> None:
        async with stage.running(handlers, **FAST):
            await stage.publish(aggregate("a", (1, 2)))
            await stage.until(PARKED, 2)
            dry = stage.command(tmp_path, "events", "parked", "discard", "--reason", "failed", "--dry-run", "--json")
            assert dry.ended() == 0, dry.tail()
            number = stage.parked()[0][3]
            assert json.loads(dry.stdout) == {"dry_run": True, "matched": 1, "discarded": 1, "numbers": [number]}
            assert len(stage.parked()) == 2
            discard = stage.command(tmp_path, "events", "parked", "discard", "--reason", "failed", "--yes")
            assert discard.ended() == 0, discard.tail()
            await stage.publish(aggregate("a", (3,)))
            redrive = stage.command(tmp_path, "events", "parked", "redrive", "--all", "--yes")
            assert redrive.ended() == 0, redrive.tail()
            await stage.until("SELECT count(*) > 0 FROM applied WHERE handler = 'first' AND version >= 2", True)

    asyncio.run(play())
    assert versions(stage, "first")[0] == 2


def test_an_event_waits_for_the_one_before_it_and_is_parked_when_that_does_not_come(isolated: Isolated) -> None:
    stage, handlers = Stage(isolated), Planted(by="version")

    async def play() -> None:
        async with stage.running(handlers, **{**FAST, "events_gap_wait": 60}):
            await stage.publish(aggregate("a", (2, 3)))
            await stage.counts("first", "gap", 1)
            assert versions(stage, "first") == []
            await stage.publish(aggregate("a", (1,)))
            await stage.until("SELECT count(*) FROM applied WHERE handler = 'first'", 3)
        async with stage.running(handlers, **FAST):
            await stage.publish(aggregate("b", (2,)))
            await stage.until(PARKED, 1)

    asyncio.run(play())
    assert versions(stage, "first") == [1, 2, 3]
    assert stage.rows("SELECT reason, error FROM inbox.parked") == [
        ("gap", "version 1 of the aggregate was not applied before it")
    ]


def test_where_an_aggregate_begins_is_the_handlers_to_say_and_an_event_without_a_version_is_parked(
    isolated: Isolated,
) -> None:
    stage, handlers = Stage(isolated), EventHandlers()

    @handlers.on("order.*", by="version", starts_at=5)
    async def five(event: Event, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(INSERT, row("five", event))

    @handlers.on("order.*", by="version", starts_at=None)
    async def anywhere(event: Event, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.execute(INSERT, row("anywhere", event))

    async def play() -> None:
        async with stage.running(handlers, **FAST):
            await stage.publish(aggregate("a", (3, 4, 5, 6)))
            await stage.until(COUNT, 6)
            await stage.publish([Sent("b", 0)])
            await stage.until(PARKED, 2)

    asyncio.run(play())
    assert versions(stage, "five") == [5, 6]
    assert versions(stage, "anywhere") == [3, 4, 5, 6]
    assert stage.counted("five", "stale") == 2
    assert {each[:3] for each in stage.parked()} == {("five", 0, "unversioned"), ("anywhere", 0, "unversioned")}


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN"])
def test_a_handler_that_ends_its_transaction_by_sql_is_found_out_and_not_run_again(
    isolated: Isolated, statement: LiteralString
) -> None:
    stage, handlers, calls = Stage(isolated), EventHandlers(), list[int]()

    @handlers.on("order.*")
    def ends(event: Event, connection: psycopg.Connection[Any]) -> None:
        calls.append(event.aggregate_version)
        connection.execute(INSERT, row("ends", event))
        connection.execute(statement)

    async def play() -> None:
        async with stage.running(handlers, **FAST):
            await stage.publish(aggregate("a", (1,)))
            await stage.until(PARKED, 1)

    asyncio.run(play())
    assert calls == [1]
    ((error,),) = stage.rows("SELECT error FROM inbox.parked")
    assert "ended its transaction by itself" in error


def test_what_a_handler_leaves_in_its_session_is_gone_for_the_next(isolated: Isolated) -> None:
    stage, handlers, found = Stage(isolated), EventHandlers(), list[tuple[object, ...]]()

    @handlers.on("order.*")
    def leaves(event: Event, connection: psycopg.Connection[Any]) -> None:
        connection.row_factory = psycopg.rows.dict_row
        connection.execute("SELECT set_config('app.tenant', 'A', false)")
        connection.execute("SET statement_timeout = '1h'")
        connection.execute("CREATE TEMP TABLE mine ()")
        found.append((event.aggregate_version,))

    @handlers.on("order.*", name="looks")
    def looks(event: Event, connection: psycopg.Connection[Any]) -> None:
        ask = "SELECT current_setting('app.tenant', true), current_setting('statement_timeout'), to_regclass('mine')"
        found.append(tuple(connection.execute(ask).fetchone() or ()))
        connection.execute(INSERT, row("looks", event))

    async def play() -> None:
        async with stage.running(handlers, concurrency=1):
            for version in (1, 2, 3):
                await stage.publish(aggregate("a", (version,)))
                await stage.until(COUNT, version)

    asyncio.run(play())
    looked = [each for each in found if len(each) == 3]
    assert len(looked) == 3
    assert {(tenant or None, timeout, table) for tenant, timeout, table in looked} == {(None, "0", None)}


def test_what_a_handler_does_to_the_event_is_unknown_to_others_and_to_its_next_attempt(isolated: Isolated) -> None:
    stage, handlers, seen = Stage(isolated), EventHandlers(), list[object]()

    @handlers.on("order.*")
    def changes(event: Event, connection: psycopg.Connection[Any]) -> None:
        seen.append(event.payload.pop("total", None))
        if len(seen) < 2:
            raise ValueError("planted")
        connection.execute(INSERT, row("changes", event))

    async def play() -> None:
        async with stage.running(handlers, **FAST):
            await stage.publish(aggregate("a", (1,)))
            await stage.until(COUNT, 1)

    asyncio.run(play())
    assert seen == [120, 120]
