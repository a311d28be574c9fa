"""`relay setup --dry-run` for a table without `tx`: it is refused where setup is, and its SQL does what setup does."""

from typing import LiteralString

import psycopg
import pytest

from outboxkit.errors import Problem
from relay.operating.setup import planning
from relay.operating.setup.beginning import From
from relay.operating.setup.extra import Extras
from relay.settings import RelaySettings
from sandbox import Isolated
from tests.integration.relay.operating.setup import shop
from tests.integration.relay.stage import call, environment, one, settings

ROW: LiteralString = (
    "SELECT (mode, slot, lsn IS NULL, snapshot IS NULL, snapshot::text = '3:3:')::text FROM relay.checkpoint"
)
TABLE: LiteralString = (
    "SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'shop.outbox'::regclass"
)
OLD: LiteralString = "SELECT count(*) FROM shop.outbox WHERE tx IS NULL"
FROM: tuple[From, ...] = ("now", "start")


def of(isolated: Isolated, source: str, **changes: str) -> RelaySettings:
    columns = {"seq": "number", "aggregate_version": "number"}
    return settings(
        isolated, source=source, outbox_table=shop.TABLE, outbox_layout="debezium", outbox_columns=columns, **changes
    )


@pytest.mark.parametrize("start", FROM)
@pytest.mark.parametrize("source", ["auto", "polling"])
def test_its_sql_does_what_setup_does(source: str, start: From, isolated: Isolated) -> None:
    shop.create(isolated, 300)
    extras = Extras(add_tx_column=True)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        scripts = list(planning.plan(of(isolated, source), accept_gap=False, extras=extras, start=start))
        for script in scripts:
            connection.execute(script.encode())
        done = [one(isolated.database_url, query) for query in (ROW, TABLE, OLD)]
        assert one(isolated.database_url, OLD) == (0 if start == "start" else 300)
        connection.execute("DROP TABLE shop.outbox; DROP SCHEMA shop; DELETE FROM relay.checkpoint")
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [isolated.name]
        )
    shop.create(isolated, 300)
    said = call(shop.variables(isolated, RELAY_SOURCE=source), "setup", "--add-tx-column", "--from", start)
    assert said.code == 0
    assert [one(isolated.database_url, query) for query in (ROW, TABLE, OLD)] == done
    text = "\n".join(scripts)
    if source == "auto":
        assert text.index("'polling'") < text.index("pg_create_logical_replication_slot"), "the position comes first"
    assert ("SET tx = pg_current_xact_id()" in text) is (start == "start")


def test_the_marks_of_a_shared_table_are_printed(isolated: Isolated) -> None:
    shop.create(isolated, 5)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("CREATE UNIQUE INDEX ON shop.outbox (id)")
        for script in planning.plan(of(isolated, "polling", poll_strategy="skip_locked"), accept_gap=False):
            connection.execute(script.encode())
    assert one(isolated.database_url, "SELECT count(*) FROM relay.mark") == 5


@pytest.mark.parametrize("source", ["auto", "wal", "polling"])
def test_it_is_refused_where_setup_is(source: str, isolated: Isolated) -> None:
    shop.create(isolated, 5)
    said = call(shop.variables(isolated, RELAY_SOURCE=source), "setup", "--from", "start")
    assert said.code == 1
    with pytest.raises(Problem) as refused:
        list(planning.plan(of(isolated, source), accept_gap=False, start="start"))
    assert str(refused.value) == said.output


def test_rows_that_another_relay_would_publish_again_are_refused_before_the_column_is_there(isolated: Isolated) -> None:
    shop.create(isolated, 5)
    assert call(shop.variables(isolated, RELAY_NAME="first"), "setup").code == 0
    second = shop.variables(isolated, RELAY_SOURCE="polling")
    said = call(second, "setup", "--dry-run", "--add-tx-column", "--from", "start")
    assert said.code == 1
    assert "they would be published again by relay 'first'" in said.output


def test_an_accepted_gap_says_where_the_relay_goes_on(isolated: Isolated) -> None:
    variables = environment(isolated, RELAY_SOURCE="wal")
    assert call(variables, "setup").code == 0
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [isolated.name])
    said = call(variables, "setup", "--accept-gap").output
    assert "events are published from there: the stored position was replaced" in said
    assert "events are published from the stored position" in call(variables, "setup").output
