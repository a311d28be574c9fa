"""What rounds of a poll give on a real server: each committed row once, whatever goes on meanwhile."""

import asyncio
import json
import tracemalloc
from dataclasses import replace
from typing import Any, LiteralString

import psycopg
import pytest

from relay.core.errors import SourceRefused
from relay.core.event import Boundary
from relay.sources.layout import NATIVE
from relay.sources.polling.statements import statements
from sandbox import Isolated
from tests.integration.relay.sources.polling.polls import Outbox, a_round, an_empty_round, events, outbox
from tests.integration.relay.stage import one, publish

MANY = 50_000
BACKLOG: LiteralString = """
INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
SELECT 'order', n::text, 1, 'paid', '{"total": 1}' FROM generate_series(1, %s) AS n
"""
WAITS: LiteralString = """
SELECT count(*) FROM pg_locks
WHERE NOT granted AND relation = 'outbox.event'::regclass AND mode = 'AccessShareLock'
"""
REWRITE: LiteralString = "ALTER TABLE outbox.event ADD COLUMN drawn double precision DEFAULT random()"


def _fill(isolated: Isolated, count: int) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(BACKLOG, [count])


async def _plan(found: Outbox, isolated: Isolated) -> dict[str, Any]:
    """Return how Postgres counts the rows of a poll that has nothing to read."""
    snapshot = (await found.now()).snapshot
    assert snapshot is not None
    reads = statements(NATIVE, await found.table(), batch=1000)
    asked = {"xmax": str(snapshot.xmax), "running": [*map(str, snapshot.running)], "now": str(snapshot), "limit": 1001}
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT set_config('enable_seqscan', 'off', false)")
        explained = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + reads.count.as_bytes(connection)
        row = psycopg.ClientCursor(connection).execute(explained, asked).fetchone()
    assert row is not None
    plan: dict[str, Any] = (row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in _nodes(part))]


@pytest.mark.parametrize("running", ["nothing is open", "a transaction is open"])
def test_a_poll_that_finds_nothing_is_one_probe_of_each_partition(isolated: Isolated, running: str) -> None:
    async def scenario() -> dict[str, Any]:
        async with outbox(isolated) as found:
            if running == "nothing is open":
                return await _plan(found, isolated)
            with psycopg.connect(isolated.database_url) as opened:
                opened.execute("SELECT pg_current_xact_id()")
                return await _plan(found, isolated)

    _fill(isolated, MANY)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("ANALYZE outbox.event")
    plan = asyncio.run(scenario())
    partitions = one(
        isolated.database_url, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox.event'::regclass"
    )
    scans = [node for node in _nodes(plan) if node["Node Type"].endswith("Scan") and "Relation Name" in node]
    assert scans
    assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
    assert len(scans) <= 2 * partitions
    assert sum(node["Actual Rows"] for node in scans) == 0
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    assert pages <= 8 * partitions, f"{pages} pages of a table of {MANY} rows"


def test_a_backlog_is_read_in_batches_and_resumed_where_it_was_confirmed(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with outbox(isolated) as found:
            start = await found.now()
            _fill(isolated, MANY)
            ids: list[str] = []
            half, sizes, peaks = start, [], []
            async with found.polled(start) as stream:
                tracemalloc.start()
                for _ in range(20):
                    items = await stream.receive()
                    sizes.append(len(items) - 1)
                    ids += events(items)
                    last = items[-1]
                    assert isinstance(last, Boundary)
                    assert last.position.round is not None
                    half = replace(start, round=last.position.round)
                    peaks.append(tracemalloc.get_traced_memory()[1])
                    tracemalloc.reset_peak()
                tracemalloc.stop()
            assert sizes == [1000] * 20
            kept = 200 * 1000 * 10  # the ids that this test keeps
            assert max(peaks[10:]) <= max(peaks[:10]) + kept, "what it holds does not grow with what it has read"
            async with found.polled(half) as stream:  # another session, as after a kill
                ids += await a_round(stream)
                assert len(ids) == len(set(ids)) == MANY
                assert await an_empty_round(stream, isolated) == []

    asyncio.run(scenario())


def test_a_transaction_that_is_open_throughout_neither_stalls_the_poll_nor_makes_it_read_again(
    isolated: Isolated,
) -> None:
    async def scenario() -> None:
        async with outbox(isolated) as found:
            with psycopg.connect(isolated.database_url) as opened:
                opened.execute("SELECT pg_current_xact_id()")
                async with found.polled(await found.now()) as stream:
                    for name in "abcde":
                        committed = publish(isolated.database_url, name)
                        assert await a_round(stream) == committed
                        assert await an_empty_round(stream, isolated) == []
                    late = opened.execute("SELECT outbox.publish('order', 'late', 1, 'paid', '{}')::text").fetchone()
                    assert await an_empty_round(stream, isolated) == []
                    opened.commit()
                    assert late is not None
                    assert await a_round(stream) == [late[0]]
                    assert await an_empty_round(stream, isolated) == []

    asyncio.run(scenario())


def test_rows_that_are_deleted_while_a_large_round_is_read_are_left_out_and_no_other(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with outbox(isolated) as found:
            start = await found.now()
            ids = publish(isolated.database_url, *map(str, range(35)))
            async with found.polled(start, batch=10) as stream:
                read = events(await stream.receive())
                assert read == ids[:10]
                with psycopg.connect(isolated.database_url, autocommit=True) as connection:
                    connection.execute("DELETE FROM outbox.event WHERE id = ANY(%s::uuid[])", [ids[10:25]])
                assert await a_round(stream) == ids[25:]
                assert await an_empty_round(stream, isolated) == []

    asyncio.run(scenario())


def test_a_large_round_that_was_broken_off_is_read_again_over_the_same_session(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with outbox(isolated) as found, found.session() as session:
            start = await found.now()
            ids = publish(isolated.database_url, *map(str, range(25)))
            for _ in range(2):
                async with found.over(session, start, batch=10) as stream:
                    assert events(await stream.receive()) == ids[:10]
            async with found.over(session, start, batch=10) as stream:
                assert await a_round(stream) == ids

    asyncio.run(scenario())


def test_a_table_that_is_rewritten_between_two_parts_of_a_round_is_read_to_its_end(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with outbox(isolated) as found:
            start = await found.now()
            ids = publish(isolated.database_url, *map(str, range(25)))
            async with found.polled(start, batch=10) as stream:
                read = events(await stream.receive())
                with psycopg.connect(isolated.database_url, autocommit=True) as connection:
                    connection.execute(REWRITE)
                assert read + await a_round(stream) == ids

    asyncio.run(scenario())


def test_a_poll_that_begins_while_the_table_is_rewritten_takes_its_snapshot_behind_that(isolated: Isolated) -> None:
    """A snapshot from before it would see an empty table: the control below."""

    async def scenario() -> None:
        async with outbox(isolated) as found:
            start = await found.now()
            ids = publish(isolated.database_url, "a", "b")
            async with found.polled(start) as stream:
                with psycopg.connect(isolated.database_url) as altering:
                    altering.execute(REWRITE)
                    polled = asyncio.create_task(a_round(stream))
                    while not one(isolated.database_url, WAITS):  # noqa: ASYNC110 - the server has no event for it
                        await asyncio.sleep(0.01)
                    altering.commit()
                    assert await polled == ids

    asyncio.run(scenario())


def test_a_snapshot_from_before_a_rewrite_sees_no_row(isolated: Isolated) -> None:
    publish(isolated.database_url, "a", "b")
    with psycopg.connect(isolated.database_url) as naive, psycopg.connect(isolated.database_url) as altering:
        naive.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        naive.execute("SELECT pg_current_snapshot()")
        altering.execute(REWRITE)
        altering.commit()
        assert naive.execute("SELECT count(*) FROM outbox.event").fetchone() == (0,)


def test_a_partition_that_is_made_unlogged_ends_the_polling(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with outbox(isolated) as found:
            with psycopg.connect(isolated.database_url, autocommit=True) as connection:
                connection.execute("ALTER TABLE outbox.event_default SET UNLOGGED")
            with pytest.raises(SourceRefused, match="event_default: the rows of unlogged tables are not in the WAL"):
                async with found.polled(await found.now()):
                    pass

    asyncio.run(scenario())
