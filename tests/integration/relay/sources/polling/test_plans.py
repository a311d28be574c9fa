"""What a poll costs on a table of five million rows: it reads what is new, by the index, and nothing else.

Whether the planner has statistics or none, and whether a transaction stays open throughout or not.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import scalar_row, tuple_row

from outboxkit import sql
from relay.core.position import Snapshot
from relay.operating import outbox
from relay.sources.polling.statements import Statements, statements
from sandbox import Isolated, Sandbox
from sandbox.machine.waiting import until
from tests.integration.relay.stage import settings

ROWS = 5_000_000
BATCH = 1000
LARGE = 100_000
"""Rows of one transaction."""
A_PROBE = 4
"""Buffers that a probe of an index reads at most: its pages from the root to a leaf, and one more."""

Connection = psycopg.Connection[Any]

# The constraints cost most of the time, and no poll looks at them. The index is made behind the rows.
FILL = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'outbox.event'::regclass AND contype = 'c' LOOP
        EXECUTE format('ALTER TABLE outbox.event DROP CONSTRAINT %I', name);
    END LOOP;
END $$;
SELECT outbox.create_partitions();
DROP INDEX outbox.event_tx;
INSERT INTO outbox.event (id, tx, aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)
SELECT '00000000-0000-0000-0000-000000000000', (3 + n % 600)::text::xid8, 'order', 'a', n, 'paid', '{}',
       CURRENT_DATE + n % 8 * interval '1 day'
FROM generate_series(1, 5000000) AS n;
CREATE INDEX event_tx ON outbox.event (tx);
"""
PARTITIONS = "SELECT count(*) FROM pg_partition_tree('outbox.event') WHERE isleaf"
EVENTS = """
INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
SELECT 'order', 'new', n, 'paid', '{}' FROM generate_series(1, %s) AS n
"""


@pytest.fixture(scope="module")
def filled(sandbox: Sandbox) -> Iterator[Isolated]:
    """Yield a database with five million events in the partitions of eight days."""
    with sandbox.isolated() as isolated:
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            connection.execute(FILL.encode())
        yield isolated


@pytest.fixture
def connection(filled: Isolated) -> Iterator[Connection]:
    """Yield a connection with the settings of the session that polls."""
    with psycopg.connect(filled.database_url, autocommit=True) as connection:
        connection.execute(sql.query("stream_formats"))
        connection.execute(sql.query("session_poll"))
        yield connection


@pytest.fixture
def reads(filled: Isolated, connection: Connection) -> Statements:
    """Return the statements of a poll."""
    made = settings(filled)
    found = outbox.facts(connection, made)
    layout = outbox.layout(found, made)
    assert layout is not None
    return statements(layout, found, batch=BATCH)


@contextmanager
def opened(filled: Isolated, *, throughout: bool) -> Iterator[None]:
    """Hold a transaction open that has an id, and has written an event, if `throughout`."""
    with psycopg.connect(filled.database_url) as writer:
        if throughout:
            writer.execute(EVENTS.encode(), [1])
            with psycopg.connect(filled.database_url) as other:  # a snapshot names those below the last that has ended
                other.execute("SELECT pg_current_xact_id()")
        yield
        writer.rollback()


def snapshot(connection: Connection) -> Snapshot:
    return Snapshot.parse(str(value(connection, "SELECT pg_current_snapshot()::text")))


def quiet(connection: Connection) -> Snapshot:
    """Return a snapshot of a moment when no transaction with an id runs: an ANALYZE by autovacuum has one at times."""

    def found() -> Snapshot | None:
        now = snapshot(connection)
        return None if now.running else now

    return until(found, what="no transaction runs", seconds=60)


def value(connection: Connection, query: str) -> Any:  # noqa: ANN401 - one column of any type
    return connection.cursor(row_factory=scalar_row).execute(query.encode()).fetchone()


def asked(after: Snapshot, now: Snapshot) -> dict[str, object]:
    return {
        "xmax": str(after.xmax), "running": [*map(str, after.running)], "limit": BATCH + 1, "beyond": -(2**63),
        "now": str(now),
    }  # fmt: skip


class Plan:
    """What EXPLAIN says of a statement that it ran."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.root = document["Plan"]
        self.milliseconds: float = document["Execution Time"] + document["Planning Time"]
        self.buffers: int = self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"]
        self.rows: int = self.root["Actual Rows"]

    def scans(self) -> list[dict[str, Any]]:
        """Return the nodes that read a table or an index, and ran."""
        return [node for node in self._nodes(self.root) if "Scan" in node["Node Type"] and node["Actual Loops"]]

    def _nodes(self, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        for child in node.get("Plans", []):
            yield from self._nodes(child)


def explain(connection: Connection, statement: str | bytes) -> Plan:
    text = statement if isinstance(statement, str) else statement.decode()
    row = connection.cursor(row_factory=tuple_row).execute(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}".encode()
    ).fetchone()  # fmt: skip
    assert row is not None
    return Plan((json.loads(row[0]) if isinstance(row[0], str) else row[0])[0])


def cheapest(connection: Connection, statement: str, *, runs: int = 20) -> Plan:
    """Return the plan of the fastest of some runs: the first ones read the catalog, and others have a busy machine."""
    return min((explain(connection, statement) for _ in range(runs)), key=lambda plan: plan.milliseconds)


def bound(connection: Connection, statement: Any, parameters: dict[str, object]) -> str:  # noqa: ANN401 - psycopg's own
    return psycopg.ClientCursor(connection).mogrify(statement, parameters)


def by_index(plan: Plan) -> bool:
    """Return whether no table is read as a whole."""
    kinds = {node["Node Type"] for node in plan.scans()} - {"Subquery Scan", "Function Scan"}
    return bool(kinds) and kinds <= {"Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan"}


@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize("throughout", [False, True])
def test_a_poll_reads_what_is_new_by_the_index_and_nothing_else(  # noqa: PLR0913 - fixtures
    *,
    throughout: bool,
    statistics: bool,
    filled: Isolated,
    connection: Connection,
    reads: Statements,
    record_property: Any,  # noqa: ANN401
) -> None:
    partitions = value(connection, PARTITIONS)
    if statistics:
        connection.execute("ANALYZE outbox.event")
    else:
        connection.execute(
            "DELETE FROM pg_statistic WHERE starelid IN (SELECT relid FROM pg_partition_tree('outbox.event'))"
        )
    with opened(filled, throughout=throughout):
        after = snapshot(connection) if throughout else quiet(connection)
        assert bool(after.running) == throughout
        nothing = bound(connection, reads.count, asked(after, snapshot(connection)))
        idle = cheapest(connection, nothing, runs=200)
        assert by_index(idle)
        assert idle.buffers <= 2 * partitions * A_PROBE
        probes = [node for node in idle.scans() if "Index" in node["Node Type"]]
        assert len(probes) <= 2 * partitions
        if not throughout:
            assert len(probes) == partitions  # the other half has nothing to look for
        record_property("report", f"idle: {idle.milliseconds:.3f} ms, {idle.buffers} buffers, {len(probes)} probes")

        with psycopg.connect(filled.database_url) as writer:
            writer.execute(EVENTS.encode(), [10])
        now = snapshot(connection)
        small = [cheapest(connection, bound(connection, each, asked(after, now))) for each in (reads.count, reads.rows)]
        assert all(map(by_index, small))
        assert all(plan.buffers <= 2 * partitions * A_PROBE + 20 for plan in small)
        assert small[1].rows == 10
    assert idle.milliseconds < 20.0


def test_a_large_transaction_is_read_in_parts_that_cost_no_more_than_their_rows(
    filled: Isolated,
    connection: Connection,
    reads: Statements,
    record_property: Any,  # noqa: ANN401
) -> None:
    partitions = value(connection, PARTITIONS)
    after = snapshot(connection)
    with psycopg.connect(filled.database_url) as writer:
        writer.execute(EVENTS.encode(), [LARGE])
    keys = bound(connection, reads.keys, asked(after, snapshot(connection)))
    plan = explain(connection, keys[keys.index("SELECT") :])
    assert by_index(plan)
    assert plan.rows == LARGE

    with psycopg.connect(filled.database_url, autocommit=True) as polling:
        polling.execute(sql.query("session_poll"))
        polling.execute("BEGIN")
        psycopg.ClientCursor(polling).execute(reads.keys, asked(after, snapshot(connection)))
        polling.execute("COMMIT")
        found = polling.execute(reads.fetch).fetchall()
        names = ("tx", "key", "place", "relation", "at")
        columns: dict[str, object] = {name: [str(row[at]) for row in found] for at, name in enumerate(names)}
        batch = bound(polling, reads.batch, columns)
        part = cheapest(polling, batch)
    record_property("report", f"{BATCH} of {LARGE} rows: {part.milliseconds:.1f} ms, {part.buffers} buffers")
    assert {node["Node Type"] for node in part.scans()} == {"Function Scan", "Tid Scan"}
    assert part.rows == BATCH
    assert part.buffers < BATCH * partitions
