"""`relay setup --add-tx-column`: an existing table can be polled afterwards, and nothing of it is published again."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.pq import DiagnosticField

from relay.core.position import Snapshot
from relay.operating import outbox
from relay.settings import RelaySettings
from relay.sources.polling.reading import Reading
from relay.sources.polling.statements import statements
from relay.storage.sessions.session import Session
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.operating.setup import shop
from tests.integration.relay.stage import call, one, staged
from tests.support.server import server_started_at
from tests.support.tap import Tap

INDEXES = """
SELECT array_agg(name || CASE WHEN i.indisvalid THEN ' t' ELSE ' f' END ORDER BY name)
FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND a.attname = 'tx',
     CAST(i.indrelid::regclass AS text) AS name
WHERE starts_with(name, 'shop.')
"""
WITHOUT_TX = "SELECT count(*) FROM shop.outbox WHERE tx IS NULL"
HAS_TX = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'shop.outbox'::regclass AND attname = 'tx'"
SNAPSHOT = "SELECT snapshot IS NOT NULL FROM relay.checkpoint"
POLLED = """
SELECT c.mode = 'polling' AND NOT EXISTS (SELECT FROM shop.outbox WHERE NOT pg_visible_in_snapshot(tx, c.snapshot))
FROM relay.checkpoint AS c
"""
LONG = "p" * 63


def execute(isolated: Isolated, *scripts: str) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        for script in scripts:
            connection.execute(script.encode())


def poll(isolated: Isolated, after: str) -> int:
    """Return how many rows a poll behind the snapshot `after` reads."""
    made = RelaySettings.model_validate(
        {
            "database_url": isolated.database_url,
            "amqp_url": isolated.amqp_url,
            "outbox_table": shop.TABLE,
            "outbox_layout": "debezium",
            "outbox_columns": {"seq": "number"},
        }
    )
    with psycopg.connect(isolated.database_url) as connection:
        found = outbox.facts(connection, made)
    layout = outbox.layout(found, made)
    assert layout is not None

    async def rows() -> int:
        async with Session(
            lambda: isolated.database_url, name="test", slot="none", prepared=("stream_formats", "session_poll")
        ) as session:
            reads, began = statements(layout, found, batch=1000), server_started_at(isolated.database_url)
            reading = Reading(session, reads, batch=1000, server_started_at=began)
            begun = await reading.begin(Snapshot.parse(after), None)
            assert not begun.large
            return len(begun.rows)

    return asyncio.run(rows())


def snapshot(isolated: Isolated) -> str:
    return str(one(isolated.database_url, "SELECT pg_current_snapshot()::text"))


def test_it_says_first_what_it_will_run_and_a_second_run_has_nothing_to_do(isolated: Isolated) -> None:
    shop.create(isolated, 50)
    variables = shop.variables(isolated)
    dry = call(variables, "setup", "--add-tx-column", "--dry-run")
    assert dry.code == 0
    wanted = [
        'ALTER TABLE "shop"."outbox" ADD COLUMN tx xid8;',
        'ALTER TABLE "shop"."outbox" ALTER COLUMN tx SET DEFAULT pg_current_xact_id();',
        'CREATE INDEX CONCURRENTLY IF NOT EXISTS "outbox_tx" ON "shop"."outbox" (tx);',
    ]
    for statement in wanted:
        assert statement.rstrip(";") in dry.output
    assert one(isolated.database_url, HAS_TX) == 0

    said = call(variables, "setup", "--add-tx-column")
    assert said.code == 0, said.output
    told = [line for line in said.output.splitlines() if line.startswith("tx column")]
    assert all("will run" in line for line in told[:3])
    twice = "a relay that streams meanwhile publishes again, under the same ids, what it has not stored yet"
    assert f"-- {twice}" in dry.output
    assert told[3:] == [f"tx column: {twice}", *(f"tx column: step {number} of 3 is done" for number in (1, 2, 3))]
    assert one(isolated.database_url, INDEXES) == ["shop.outbox t"]
    assert one(isolated.database_url, WITHOUT_TX) == 50
    shop.insert(isolated, 3)
    assert one(isolated.database_url, WITHOUT_TX) == 50

    assert "tx column: up to date" in call(variables, "setup", "--add-tx-column").output


@pytest.mark.parametrize("way", ["the command", "one step"])
def test_rows_from_before_are_not_published_again(way: str, isolated: Isolated) -> None:
    """The control adds the column with its default in one step: then each row has the id of that transaction."""
    shop.create(isolated, 50)
    before = snapshot(isolated)
    if way == "one step":
        execute(isolated, "ALTER TABLE shop.outbox ADD COLUMN tx xid8 DEFAULT pg_current_xact_id()")
    else:
        assert call(shop.variables(isolated), "setup", "--add-tx-column").code == 0
    shop.insert(isolated, 3)
    assert poll(isolated, before) == (53 if way == "one step" else 3)


def test_a_partitioned_table_gets_its_index_partition_by_partition(isolated: Isolated) -> None:
    shop.create(isolated, tail="PARTITION BY RANGE (number)")
    execute(
        isolated,
        "CREATE TABLE shop.outbox_1 PARTITION OF shop.outbox FOR VALUES FROM (1) TO (100)",
        f"CREATE TABLE shop.{LONG} PARTITION OF shop.outbox FOR VALUES FROM (100) TO (200)",
        f"CREATE TABLE shop.{LONG[:-1]} PARTITION OF shop.outbox FOR VALUES FROM (200) TO (300)",
        "CREATE TABLE shop.outbox_3 PARTITION OF shop.outbox FOR VALUES FROM (300) TO (400) PARTITION BY LIST (type)",
        "CREATE TABLE shop.outbox_3_paid PARTITION OF shop.outbox_3 FOR VALUES IN ('paid')",
        "CREATE TABLE shop.outbox_3_other PARTITION OF shop.outbox_3 DEFAULT",
    )
    shop.insert(isolated, 350)
    before = snapshot(isolated)
    # A run that was ended, after the first partition.
    execute(
        isolated,
        "ALTER TABLE shop.outbox ADD COLUMN tx xid8",
        "CREATE INDEX outbox_tx ON ONLY shop.outbox (tx)",
        "CREATE INDEX outbox_1_tx ON shop.outbox_1 (tx)",
        "ALTER INDEX shop.outbox_tx ATTACH PARTITION shop.outbox_1_tx",
    )
    variables = shop.variables(isolated)
    said = call(variables, "setup", "--add-tx-column")
    assert said.code == 0, said.output
    assert said.output.count("will run CREATE INDEX CONCURRENTLY") == 5
    found = one(isolated.database_url, INDEXES)
    assert len(found) == 7
    assert all(index.endswith(" t") for index in found)
    shop.insert(isolated, 5)
    assert poll(isolated, before) == 5
    assert "tx column: up to date" in call(variables, "setup", "--add-tx-column").output


def test_an_index_that_was_left_unfinished_is_made_again(isolated: Isolated) -> None:
    shop.create(isolated, 50)
    execute(isolated, "ALTER TABLE shop.outbox ADD COLUMN tx xid8")
    index = "CREATE INDEX CONCURRENTLY outbox_tx ON shop.outbox (tx)"
    url = isolated.database_url
    with psycopg.connect(url) as old, closing(psycopg.connect(url, autocommit=True)) as ended:
        old.execute(f"{shop.INSERT} FROM generate_series(1, 1) AS n".encode())  # CONCURRENTLY waits for it
        ended.pgconn.send_query(index.encode())
        until(lambda: one(url, INDEXES), what="the index is there, unfinished", seconds=30)
        ended.cancel_safe()
        result = ended.pgconn.get_result()
        assert result is not None
        assert result.error_field(DiagnosticField.SQLSTATE) == b"57014"  # query_canceled
    assert one(isolated.database_url, INDEXES) == ["shop.outbox f"]
    said = call(shop.variables(isolated), "setup", "--add-tx-column")
    assert said.code == 0
    assert 'will run DROP INDEX CONCURRENTLY "shop"."outbox_tx"' in said.output
    assert one(isolated.database_url, INDEXES) == ["shop.outbox t"]


def test_it_works_under_load(isolated: Isolated, record_property: Any) -> None:  # noqa: ANN401
    shop.create(isolated, 20_000)
    before = snapshot(isolated)
    with shop.load(isolated) as waits:
        until(lambda: len(waits) > 20, what="writers write", seconds=30)
        assert call(shop.variables(isolated), "setup", "--add-tx-column").code == 0
        written = len(waits)
        until(lambda: len(waits) > written + 20, what="writers go on", seconds=30)
    record_property("report", f"{len(waits)} inserts, the longest took {max(waits):.3f} s")
    assert max(waits) < 10.0
    rows = one(isolated.database_url, "SELECT count(*) FROM shop.outbox WHERE tx IS NOT NULL")
    assert poll(isolated, before) == rows > 20


def test_a_table_that_stays_in_use_is_left_as_it_was(isolated: Isolated) -> None:
    shop.create(isolated, 5)
    with psycopg.connect(isolated.database_url) as user:
        user.execute("SELECT count(*) FROM shop.outbox")
        said = call(shop.variables(isolated), "setup", "--add-tx-column")
        assert said.code == 1
        assert "the table stays in use" in said.output
    assert one(isolated.database_url, HAS_TX) == 0
    assert call(shop.variables(isolated), "setup", "--add-tx-column").code == 0


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("", "has no column tx"),
        ("ADD COLUMN tx bigint", "a column tx of type bigint, and not xid8"),
        ("ADD COLUMN tx xid8", "a column tx without the default pg_current_xact_id()"),
    ],
)
def test_a_table_whose_rows_do_not_say_who_wrote_them_is_not_polled(
    column: str, words: str, isolated: Isolated
) -> None:
    shop.create(isolated)
    if column:
        execute(isolated, f"ALTER TABLE shop.outbox {column}")
    said = call(shop.variables(isolated, RELAY_SOURCE="polling"), "setup")
    assert said.code == 1
    assert words in said.output
    assert "relay setup --add-tx-column" in said.output
    assert "RELAY_POLL_STRATEGY=skip_locked" in said.output


def test_a_running_relay_polls_nothing_twice_and_misses_nothing_when_its_slot_is_lost_afterwards(
    isolated: Isolated, tmp_path: Path
) -> None:
    url = isolated.database_url
    shop.create(isolated)
    assert call(shop.variables(isolated), "setup").code == 0
    tap = Tap(isolated.amqp_url, queue=isolated.queue("tap"), exchange=isolated.name)
    with staged(isolated, tmp_path) as stage:
        relay = stage.start("relay", "run", **shop.settings())
        relay.logged("streaming")
        shop.insert(isolated, 20)
        until(lambda: one(url, SNAPSHOT), what="a fence is stored", seconds=30)
        with shop.load(isolated) as waits:
            until(lambda: len(waits) > 20, what="writers write", seconds=30)
            said = call(shop.variables(isolated), "setup", "--add-tx-column")
            assert said.code == 0, said.output
            written = len(waits)
            until(lambda: len(waits) > written + 20, what="writers go on", seconds=30)
        until(lambda: one(url, SNAPSHOT), what="a fence from after that is stored", seconds=30)
        stage.query(
            "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE slot_name = %s",
            isolated.name,
        )
        until(lambda: _dropped(isolated), what="the slot is dropped", seconds=30, every=0.01)
        shop.insert(isolated, 20)
        expected = shop.ids(isolated)
        until(lambda: one(url, POLLED), what="the stored snapshot sees all", seconds=60)
        assert any(line.get("to") == "polling" for line in relay.log)
        assert relay.terminate() == 0
    found = [delivery.message for delivery in tap.drain()]
    assert set(found) == set(expected)
    assert [each for each in dict.fromkeys(found) if each in expected[:20]] == expected[:20]


def _dropped(isolated: Isolated) -> bool:
    """Drop the slot, if nobody holds it at this moment."""
    try:
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE slot_name = %s",
                [isolated.name],
            )
            connection.execute("SELECT pg_drop_replication_slot(%s)", [isolated.name])
    except (psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject) as error:
        return isinstance(error, psycopg.errors.UndefinedObject)
    return True


def test_a_snapshot_from_before_the_column_is_taken_back(isolated: Isolated) -> None:
    """A poll behind it would miss the rows without `tx` that it does not see."""
    shop.create(isolated)
    variables = shop.variables(isolated)
    assert call(variables, "setup").code == 0
    execute(isolated, "UPDATE relay.checkpoint SET snapshot = pg_current_snapshot()")
    epoch = one(isolated.database_url, "SELECT epoch FROM relay.checkpoint")
    shop.insert(isolated, 3)  # they are in the slot
    assert call(variables, "setup", "--add-tx-column").code == 0
    assert not one(isolated.database_url, SNAPSHOT)
    assert one(isolated.database_url, "SELECT epoch FROM relay.checkpoint") == epoch + 1
