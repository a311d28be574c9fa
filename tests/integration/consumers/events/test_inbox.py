"""The inbox's own rules, by SQL: races of claims, the retention, and what the roles of sql/roles.sql may do."""

import asyncio
import threading
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Literal

from consumers.maintenance.declaring.registry import Jobs
from consumers.maintenance.jobs import old_messages
from consumers.postgres.database import Database
from outboxkit import sql
from sandbox import Isolated
from tests.integration.consumers.events.stage import PARKED
from tests.support.commands import ROOT

ADVANCE: LiteralString = "SELECT verdict, stored FROM inbox.advance('h', 'order', '1', %s, %s)"


@pytest.fixture(name="connection")
def _connection(isolated: Isolated) -> Any:  # noqa: ANN401 - a fixture
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("starts_at", [1, None])
def test_of_many_that_claim_at_once_exactly_one_gets_it(isolated: Isolated, starts_at: int | None) -> None:
    verdicts: list[str] = []
    ready = threading.Barrier(6)

    def claim() -> None:
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            ready.wait(30)
            for version in range(1, 51):
                row = connection.execute("SELECT inbox.claim('h', %s)", [str(version)]).fetchone()
                verdicts.append(str(row and row[0]))
                row = connection.execute(ADVANCE, [version, starts_at]).fetchone()
                verdicts.append(f"by version: {row and row[0]}")

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert verdicts.count("applied") == 50
    assert verdicts.count("duplicate") == 250
    assert verdicts.count("by version: applied") == 50
    assert verdicts.count("by version: stale") == 250


def test_a_claim_that_is_rolled_back_is_there_for_the_one_that_waited(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as first, psycopg.connect(isolated.database_url) as second:
        first.execute("SELECT inbox.claim('h', '1')")
        found: list[Any] = []

        def claim() -> None:
            found.append(second.execute("SELECT inbox.claim('h', '1')").fetchone())

        waiting = threading.Thread(target=claim)
        waiting.start()
        first.rollback()
        waiting.join(30)
        assert found == [("applied",)]


def test_a_position_moves_by_one_and_never_back(connection: psycopg.Connection[Any]) -> None:
    def advance(version: int, starts_at: int | None = 1) -> Any:  # noqa: ANN401 - a row
        return connection.execute(ADVANCE, [version, starts_at]).fetchone()

    assert advance(2) == ("gap", None)
    assert advance(1, 2) == ("stale", None)
    assert advance(1) == ("applied", None)
    assert advance(1) == ("stale", 1)
    assert advance(3) == ("gap", 1)
    assert advance(2) == ("applied", 1)
    assert advance(2**63 - 1) == ("gap", 2)


def test_the_inbox_is_pruned_by_its_retention_in_batches_and_keeps_what_waits(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO inbox.message SELECT 'h', n::text, clock_timestamp() - n * interval '1 hour'"
            " FROM generate_series(1, 100) AS n"
        )
        connection.execute(
            "INSERT INTO inbox.parked (consumer, message_id, by_version, aggregate_type, aggregate_id,"
            " aggregate_version, event_type, routing_key, headers, body, reason, error, applied_at)"
            " SELECT 'h', n::text, false, 'order', '1', 1, 't', 'order.t', '{}', '', 'failed', 'e',"
            " CASE WHEN n < 100 THEN clock_timestamp() - interval '2 days' END FROM generate_series(98, 100) AS n"
        )

        async def prune() -> None:
            jobs = Jobs(own=True)
            async with Database(lambda: isolated.database_url, name="jobs") as database:
                old_messages.register(jobs, database, keep=timedelta(hours=24, minutes=30), batch=10)
                (job,) = jobs
                await job.function()  # type: ignore[misc]  # it is async

        asyncio.run(prune())
        left = connection.execute("SELECT message_id::int FROM inbox.message ORDER BY 1").fetchall()
        assert left == [*((n,) for n in range(1, 25)), (100,)]  # whose parked event waits
        assert connection.execute("SELECT message_id FROM inbox.parked").fetchall() == [("100",)]


GRANTS: LiteralString = "".join(
    f"{line}\n"
    for line in (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8").splitlines()
    if "inbox" in line and line.strip().startswith("GRANT") and "outbox_consumer" in line
)


def test_a_consumer_has_the_rights_that_it_needs_and_cannot_delete(isolated: Isolated) -> None:
    """The grants of sql/roles.sql, given to a role of this test's own."""
    name = f"{isolated.name}_consumer"
    granted = "\n".join(line.partition(" TO ")[0].strip() + f" TO {name};" for line in GRANTS.splitlines())
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {}").format(SQL(name)))
        try:
            connection.execute(granted.encode())
            connection.execute("REVOKE EXECUTE ON FUNCTION inbox.prune, inbox.discard_parked FROM PUBLIC")
            connection.execute(SQL("SET ROLE {}").format(SQL(name)))
            connection.execute("SELECT inbox.claim('h', '1')")
            connection.execute(ADVANCE, [1, 1])
            connection.execute("SELECT inbox.take_parked(1), inbox.discard_parked(1), inbox.prune('1 day')")
            for name_of, parameters in (
                ("inbox_park", PARKED),
                ("inbox_park_again", {"number": 1, "reason": "failed", "error": "e"}),
                ("inbox_asked", {"consumers": ["h"], "underway": [], "limit": 1}),
                ("inbox_parked_ask", {"numbers": [1]}),
                ("inbox_parked_discard", {"numbers": [1]}),
                ("inbox_parked_show", {"numbers": [1]}),
            ):
                connection.execute(sql.query(name_of), parameters)
            for table in ("message", "position", "parked"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(SQL("DELETE FROM inbox.{}").format(SQL(table)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(SQL("UPDATE inbox.message SET message_id = {}").format(Literal("2")))
        finally:
            connection.execute("RESET ROLE")
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())
