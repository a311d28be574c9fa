"""The audit beside the stream: each event is looked at once, by the index on tx, and what is missing stays so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from outboxkit import sql
from relay.core.observations import Audited, Observation
from relay.maintenance.audit import Audit
from relay.storage.audit.recent import RecentPast
from relay.storage.sessions.session import Session
from sandbox import Isolated
from tests.integration.relay.operating.audit.audit_stage import Played
from tests.integration.relay.stage import one


@pytest.fixture
def played(ready: Isolated) -> Played:
    """Return an outbox with a record of confirms and one position of the past."""
    found = Played(ready)
    found.publish()
    found.note()
    return found


@asynccontextmanager
async def auditing(played: Played) -> AsyncIterator[tuple[Audit, list[Observation]]]:
    seen: list[Observation] = []
    async with Session(lambda: played.url, name="test audit", slot=played.isolated.name) as session:
        yield Audit(RecentPast(session, relay="relay"), seen.append), seen


def test_it_goes_on_where_it_was_and_what_is_missing_stays_so_until_it_is_confirmed(played: Played) -> None:
    async def scenario() -> None:
        async with auditing(played) as (audit, seen):
            await audit.run()
            assert seen.pop() == Audited(0, 0, None)

            skipped, *ids = played.write(4)
            played.publish(ids)
            played.note()
            await audit.run()
            seq = one(played.url, "SELECT seq FROM outbox.event WHERE id = %s::uuid", skipped)
            assert seen.pop() == Audited(4, 1, seq)

            await audit.run()
            assert seen.pop() == Audited(0, 1, seq)

            played.publish(played.write(2))
            played.note()
            await audit.run()
            assert seen.pop() == Audited(2, 1, seq)

            played.confirm([skipped])
            await audit.run()
            assert seen.pop() == Audited(0, 0, None)

    asyncio.run(scenario())


def test_events_that_are_not_published_yet_are_looked_at_again(played: Played) -> None:
    async def scenario() -> None:
        async with auditing(played) as (audit, seen):
            ids = played.write(3)
            played.note()
            await audit.run()
            assert seen.pop() == Audited(0, 0, None)
            played.publish(ids[:2])
            await audit.run()
            assert seen.pop() == Audited(3, 1, one(played.url, "SELECT max(seq) FROM outbox.event"))

    asyncio.run(scenario())


def test_a_confirm_of_long_before_the_commit_is_found(played: Played) -> None:
    async def scenario() -> None:
        async with auditing(played) as (audit, seen):
            played.publish(played.write(2))
            played.run("UPDATE relay.confirmed SET at = at - interval '5 hours'")
            played.note()
            await audit.run()
            assert seen.pop() == Audited(2, 0, None)

    asyncio.run(scenario())


def test_nothing_is_audited_before_confirms_are_recorded(isolated: Isolated) -> None:
    async def scenario() -> None:
        async with auditing(Played(isolated)) as (audit, seen):
            await audit.run()
            assert seen == []

    asyncio.run(scenario())


def test_its_statement_reads_the_outbox_by_the_index_on_tx(played: Played) -> None:
    """With a hundred thousand events of before, which it does not look at."""
    with psycopg.connect(played.url, autocommit=True) as connection:
        connection.execute(
            "SELECT outbox.publish('order', n::text, 1, 'paid', '{}') FROM generate_series(1, 100000) AS n"
        )
        connection.execute("ANALYZE outbox.event")
        after = one(played.url, "SELECT pg_current_snapshot()::text")
        played.publish(played.write(5))
        until = one(played.url, "SELECT pg_current_snapshot()::text")
        asked = {
            "relay": "relay", "after": after, "until": until, "running": [],
            "recorded_since": after, "besides": "{}", "confirmed_from": None,
        }  # fmt: skip
        explain = psycopg.sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) {}").format(
            psycopg.sql.SQL(sql.query("audit_bucket"))
        )
        row = connection.execute(explain, asked).fetchone()
    assert row is not None
    scans = [node for node in nodes(row[0][0]["Plan"]) if str(node.get("Relation Name", "")).startswith("event")]
    assert scans, json.dumps(row[0])
    read = [node for node in scans if node["Node Type"] == "Seq Scan" and node["Plan Rows"] > 1000]
    assert not read, read
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) == 5


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]
