"""What two pollers do to each other's rows, step by step."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.sql import SQL, Composed

from outboxkit import sql
from relay.core.errors import RowsReleased
from relay.core.observations import Skipped
from relay.core.position import Snapshot
from relay.sources.layout import NATIVE
from relay.sources.polling.skip_locked.batches import Batches, Locked
from relay.sources.polling.skip_locked.statements import Statements, statements
from relay.storage.sessions.session import Session
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.sources.polling.poller import begin, facts, poller
from tests.integration.relay.stage import one, publish

_GATE = 42
_SEQ = "SELECT array_agg(seq::text ORDER BY seq) FROM outbox.event"
_MARKS = "SELECT count(*) FROM relay.mark"
_SNAPSHOT = "SELECT snapshot::text FROM relay.checkpoint"
_HELD = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class OneStatement(Batches):
    """A control: it does not look at the marks again."""

    async def _look_again(
        self, connection: psycopg.AsyncConnection[Any], locked: Sequence[Locked]
    ) -> tuple[str, Sequence[Locked]]:
        written, _ = await super()._look_again(connection, locked)
        return written, locked


def gated(reads: Statements) -> Statements:
    """Let the statement that locks rows wait at a gate, with the snapshot that it has taken."""
    barrier = f"WITH barrier AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({_GATE}) AS open), locked AS"
    text = reads.lock.as_string(None).replace("WITH locked AS", barrier)
    text = text.replace(") AS row LIMIT", ") AS row WHERE (SELECT open IS NOT NULL FROM barrier) LIMIT", 1)
    assert text.count("barrier") == 2
    return replace(reads, lock=Composed([SQL(text)]))


@pytest.mark.parametrize(("kind", "times"), [(Batches, 1), (OneStatement, 2)])
def test_a_row_whose_mark_is_committed_while_another_poller_looks_is_published_once(
    kind: type[Batches], times: int, isolated: Isolated
) -> None:
    async def scenario() -> None:
        await begin(isolated)
        publish(isolated.database_url, "1")
        async with Session(lambda: isolated.database_url, name="facts", slot="none") as session:
            reads = statements(NATIVE, await facts(session), batch=10)
        async with poller(isolated) as first, poller(isolated, kind=kind, reads=gated(reads)) as second:
            with psycopg.connect(isolated.database_url, autocommit=True) as gate:
                gate.execute("SELECT pg_advisory_lock(%s)", [_GATE])
                taking = asyncio.create_task(second.take())
                await _blocked(isolated)
                await first.take()
                gate.execute("SELECT pg_advisory_unlock(%s)", [_GATE])
                await taking
        assert len(first.published + second.published) == times
        if kind is Batches:
            assert second.skipped == Skipped(conflicts=1)

    asyncio.run(scenario())


async def _blocked(isolated: Isolated) -> None:
    query = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s)"
    await asyncio.to_thread(
        until, lambda: one(isolated.database_url, query, _GATE), what="a poller waits at the gate", seconds=30
    )


def test_rows_that_another_has_locked_are_passed_over_and_counted(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        publish(isolated.database_url, "1", "2")
        async with poller(isolated, batch=2) as first, poller(isolated, batch=2) as second:
            ended = first.begin()
            await first.got.wait()
            publish(isolated.database_url, "3")
            taken = await second.take()
            assert (len(second.published), second.skipped, taken.caught_up) == (1, Skipped(locked=2), False)
            first.finish()
            assert (await ended).again
            assert (await second.take()).caught_up
        assert sorted(first.published + second.published, key=int) == one(isolated.database_url, _SEQ)

    asyncio.run(scenario())


def test_an_aggregate_that_another_poller_has_is_passed_over_until_that_one_rolls_back(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        publish(isolated.database_url, "x")
        async with poller(isolated, aggregates=True) as first, poller(isolated, aggregates=True) as second:
            ended = first.begin()
            await first.got.wait()
            publish(isolated.database_url, "x", "y")
            await second.take()
            assert (len(second.published), second.skipped) == (1, Skipped(locked=1, aggregates=1))
            first.give_up()
            assert not (await ended).published
            await second.take()
            assert len(second.published) == 3
        assert one(isolated.database_url, _HELD) == 0

    asyncio.run(scenario())


def test_a_conflict_lets_the_aggregate_go(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        publish(isolated.database_url, "x")
        async with poller(isolated, aggregates=True) as first, poller(isolated, aggregates=True) as second:
            ended = first.begin()
            await first.got.wait()
            assert one(isolated.database_url, _HELD) == 1
            with psycopg.connect(isolated.database_url) as connection:
                connection.execute(
                    "INSERT INTO relay.mark SELECT 'relay', 'outbox.event', seq::text, tx FROM outbox.event"
                )
            first.finish()
            await ended
            assert first.skipped == Skipped(conflicts=1)
            assert one(isolated.database_url, _HELD) == 0
            publish(isolated.database_url, "x")
            await second.take()
            assert len(second.published) == 1

    asyncio.run(scenario())


def test_what_is_not_confirmed_in_time_is_unlocked_and_can_be_marked_afterwards(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        publish(isolated.database_url, "1")
        async with poller(isolated, held_at_most=0.2) as slow, poller(isolated) as other:
            with pytest.raises(RowsReleased):
                await slow.begin()
            marking = slow.batches.unmarked
            assert marking is not None
            assert not await slow.batches.held()
            await slow.batches.mark(marking)
            assert (await other.take()).caught_up
            assert other.published == []

    asyncio.run(scenario())


def test_rows_are_held_as_long_as_their_transaction_is_open(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        publish(isolated.database_url, "1")
        async with poller(isolated) as first:
            assert await first.batches.held()
            ended = first.begin()
            await first.got.wait()
            assert await first.batches.held()
            with psycopg.connect(isolated.database_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE application_name = 'poller'"
                )
            assert not await first.batches.held()
            first.give_up()
            await asyncio.wait({ended})
            ended.exception()

    asyncio.run(scenario())


def test_the_row_of_a_transaction_that_commits_late_is_not_missed_and_marks_are_removed_around_it(
    isolated: Isolated,
) -> None:
    async def scenario() -> None:
        await begin(isolated)
        url = isolated.database_url
        async with poller(isolated) as first:
            with psycopg.connect(url) as late:
                late.execute("SELECT outbox.publish('order', 'late', 1, 'paid', '{}')")
                publish(url, "1", "2")
                await first.take()
                await first.marks.tidy()
                assert (len(first.published), one(url, _MARKS)) == (2, 0)
                publish(url, "3")
                await first.take()
                assert (len(first.published), one(url, _MARKS)) == (3, 1)
                await first.marks.tidy()
            await first.take()
            assert sorted(first.published, key=int) == one(url, _SEQ)
            await first.marks.tidy()
            assert one(url, _MARKS) == 0
            assert (await first.take()).caught_up
            assert len(first.published) == 4

    asyncio.run(scenario())


def test_a_row_that_is_not_published_keeps_its_transaction_out_of_the_stored_snapshot(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        url = isolated.database_url
        publish(url, "stuck")
        tx = int(one(url, "SELECT tx::text FROM outbox.event"))
        async with poller(isolated, batch=1) as stuck, poller(isolated) as other:
            ended = stuck.begin()
            await stuck.got.wait()
            publish(url, "1", "2")
            await other.take()
            for _ in range(2):
                await other.marks.tidy()
                snapshot = Snapshot.parse(one(url, _SNAPSHOT))
                assert not snapshot.sees(tx)
                assert snapshot.xmax > tx + 1
                assert one(url, _MARKS) == 0
            stuck.give_up()
            await ended
            await other.take()
            assert sorted(other.published, key=int) == one(url, _SEQ)

    asyncio.run(scenario())


def test_an_idle_poll_reads_little_however_many_rows_are_published(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        url = isolated.database_url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT count(outbox.publish('order', n::text, 1, 'paid', '{}')) FROM generate_series(1, 20000) AS n"
            )
        async with poller(isolated, batch=5000) as first, poller(isolated) as other:
            while (await first.take()).again:
                assert (await _cost(other.batches)).compared == 0
            marked = await _cost(other.batches)
            await first.marks.tidy()
            idle = await _cost(other.batches)
        assert len(first.published) == 20000
        assert idle.blocks < 100 < marked.blocks
        assert marked.compared == 0

    asyncio.run(scenario())


def test_rows_of_transactions_that_were_running_are_not_compared_with_every_mark(isolated: Isolated) -> None:
    async def scenario() -> None:
        await begin(isolated)
        url, writers = isolated.database_url, 40
        with ExitStack() as stack:
            open_ones = [stack.enter_context(psycopg.connect(url)) for _ in range(writers)]
            for number, connection in enumerate(open_ones):
                connection.execute("SELECT outbox.publish('order', %s, 1, 'paid', '{}')", [str(number)])
            async with poller(isolated, batch=100) as first, poller(isolated) as other:
                publish(url, "now")
                await first.take()
                await first.marks.tidy()
                for connection in open_ones:
                    connection.commit()
                await first.take()
                cost = await _cost(other.batches)
        assert len(first.published) == writers + 1
        assert cost.compared == 0

    asyncio.run(scenario())


class _Cost(NamedTuple):
    """What the statement that locks rows costs."""

    blocks: int
    """How many blocks it touches."""
    compared: int
    """How many pairs of rows and marks it compares and rejects."""


async def _cost(batches: Batches) -> _Cost:
    async def explain(connection: psycopg.AsyncConnection[Any]) -> _Cost:
        async with connection.transaction():
            await connection.execute(sql.query("skip_plan"))
            statement = SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ") + batches._statements.lock  # noqa: SLF001 - what it runs
            row = await (await connection.execute(statement, batches._whose)).fetchone()  # noqa: SLF001 - the same
            assert row is not None
            plan = row[0][0]["Plan"]
            return _Cost(int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]), _compared(plan))

    return await batches._session.work(explain)  # noqa: SLF001 - its own session, with its settings


def _compared(plan: dict[str, Any]) -> int:
    return int(plan.get("Rows Removed by Join Filter", 0)) + sum(map(_compared, plan.get("Plans", [])))
