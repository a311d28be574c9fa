"""`relay setup`: it does what `--dry-run` prints, and creates again what is missing."""

from contextlib import suppress

import psycopg
import pytest
from psycopg import errors

from outboxkit import sql
from relay.operating.setup import planning
from sandbox import Isolated
from tests.integration.relay.stage import call, environment, one, settings

OURS = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('relay', 'outbox', 'tasks')"
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
EXISTS = (errors.DuplicateSchema, errors.DuplicateTable, errors.DuplicateFunction, errors.DuplicateObject)
BEGUN = "SELECT mode = 'polling' AND lsn IS NULL AND snapshot IS NOT NULL FROM relay.checkpoint WHERE name = 'relay'"
CHECKPOINT = "SELECT slot FROM relay.checkpoint WHERE name = 'relay'"


@pytest.fixture
def bare(isolated: Isolated) -> Isolated:
    """Return a database in which nothing is set up."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("DROP SCHEMA relay, outbox, tasks, inbox, outbox_setup CASCADE")
    return isolated


def test_a_dry_run_changes_nothing(bare: Isolated) -> None:
    said = call(environment(bare), "setup", "--dry-run")
    assert said.code == 0
    assert "INSERT INTO relay.checkpoint" in said.output
    assert one(bare.database_url, OURS) == 0
    assert one(bare.database_url, SLOTS) == 0
    assert one(bare.database_url, "SELECT to_regclass('outbox_setup.applied')") is None


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_the_printed_sql_leaves_only_the_exchange_to_setup(plugin: str, bare: Isolated) -> None:
    with psycopg.connect(bare.database_url, autocommit=True) as connection:
        for script in planning.plan(settings(bare, plugin=plugin), accept_gap=False):
            connection.execute(script.encode())
    assert one(bare.database_url, CHECKPOINT) == bare.name
    assert one(bare.database_url, BEGUN)

    said = call(environment(bare, RELAY_PLUGIN=plugin), "setup").output.splitlines()
    assert said[0] == "schema: up to date"
    assert said[1].startswith(f"slot: '{bare.name}' ({plugin}) exists")


@pytest.mark.parametrize("source", ["auto", "wal", "polling"])
def test_a_dry_run_prints_what_setup_stores(source: str, bare: Isolated) -> None:
    row = "SELECT (mode, slot, lsn IS NULL, snapshot IS NULL, plugin)::text FROM relay.checkpoint"
    with psycopg.connect(bare.database_url, autocommit=True) as connection:
        for script in planning.plan(settings(bare, source=source), accept_gap=False):
            connection.execute(script.encode())
        planned = one(bare.database_url, row)
        connection.execute("DELETE FROM relay.checkpoint")
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [bare.name]
        )
    assert call(environment(bare, RELAY_SOURCE=source), "setup").code == 0
    assert one(bare.database_url, row) == planned
    assert one(bare.database_url, SLOTS) == (0 if source == "polling" else 1)


def test_a_dropped_publication_is_created_again_with_the_remedy_for_older_events(bare: Isolated) -> None:
    variables = environment(bare, RELAY_PLUGIN="pgoutput")
    assert call(variables, "setup").code == 0
    with psycopg.connect(bare.database_url, autocommit=True) as connection:
        connection.execute(f'DROP PUBLICATION "{bare.name}"'.encode())

    output = call(variables, "setup").output
    assert "created again" in output
    assert "skip them with `relay slot skip`" in output
    assert one(bare.database_url, "SELECT count(*) FROM pg_publication WHERE pubname = %s", bare.name) == 1
    assert "again" not in call(variables, "setup").output


@pytest.mark.parametrize("table", ["orders.outbox", "public.nowhere"])
def test_a_missing_table_of_the_application_is_created_by_its_owner_and_not_by_setup(
    table: str, bare: Isolated
) -> None:
    variables = environment(bare, RELAY_PLUGIN="pgoutput", RELAY_OUTBOX_TABLE=table)
    said = call(variables, "setup")
    assert said.code == 1
    assert f"there is no table {table} - its owner has to create it" in said.output
    assert "correct RELAY_OUTBOX_TABLE" in said.output
    assert "relay setup" not in said.output
    assert one(bare.database_url, SLOTS) == 0

    with psycopg.connect(bare.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.partition('.')[0]}".encode())
        connection.execute(f"CREATE TABLE {table} (LIKE outbox.event)".encode())
    assert call(variables, "setup").code == 0


@pytest.mark.parametrize("plugin", ["auto", "wal2json", "pgoutput"])
def test_a_table_that_can_never_deliver_is_refused_before_a_slot_is_made(plugin: str, isolated: Isolated) -> None:
    variables = environment(isolated, RELAY_PLUGIN=plugin, RELAY_OUTBOX_TABLE="public.events")
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("CREATE UNLOGGED TABLE public.events (LIKE outbox.event)")
        said = call(variables, "setup")
        assert said.code == 1
        assert "public.events: the rows of unlogged tables are not in the WAL" in said.output
        assert 'ALTER TABLE "public"."events" SET LOGGED' in said.output
        assert one(isolated.database_url, SLOTS) == 0
        assert checked(variables)["outbox.table"] == "FAIL"

        connection.execute('ALTER TABLE "public"."events" SET LOGGED')
        assert call(variables, "setup").code == 0
        assert checked(variables)["outbox.table"] == "OK"


def checked(variables: dict[str, str]) -> dict[str, str]:
    """Return the status of each check."""
    return {each["id"]: each["status"] for each in call(variables, "check", "--json").json["checks"]}


def test_auto_takes_the_plugin_that_can_read_the_outbox(bare: Isolated) -> None:
    variables = environment(bare, RELAY_OUTBOX_TABLE="public.events", RELAY_OUTBOX_LAYOUT="debezium")
    with psycopg.connect(bare.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.events"
            " (id uuid, aggregatetype text, aggregateid numeric(20), type text, payload jsonb)"
        )
    refused = call(variables | {"RELAY_PLUGIN": "wal2json"}, "setup")
    assert "wal2json writes NaN and infinity as NULL in 'aggregateid' (numeric(20,0))" in refused.output
    assert "use RELAY_PLUGIN=pgoutput" in refused.output
    assert f"slot: '{bare.name}' (pgoutput) created" in call(variables, "setup").output


def test_a_publication_of_another_service_is_kept_and_the_statement_that_is_named_makes_it_do(bare: Isolated) -> None:
    variables = environment(bare, RELAY_PLUGIN="pgoutput")
    with psycopg.connect(bare.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE theirs ()")
        connection.execute(f"CREATE PUBLICATION \"{bare.name}\" FOR TABLE theirs WITH (publish = 'delete')".encode())
        said = call(variables, "setup").output
        assert "does not publish inserts and does not contain outbox.event and publishes partitions" in said
        assert "set another RELAY_SLOT" in said
        assert one(bare.database_url, SLOTS) == 0
        statements = said.partition("if nobody else reads it: ")[2].partition("; otherwise")[0]
        for statement in statements.split(";"):
            connection.execute(statement.encode())
    assert call(variables, "setup").code == 0
    assert checked(variables)["outbox.publication"] == "OK"


def test_a_dry_run_after_setup_prints_neither_slot_nor_checkpoint(bare: Isolated) -> None:
    assert call(environment(bare), "setup").code == 0
    output = call(environment(bare), "setup", "--dry-run").output
    assert "pg_create_logical_replication_slot" not in output
    assert "relay.checkpoint" not in output


def test_a_dry_run_after_a_schema_was_dropped_prints_what_makes_it_again(bare: Isolated) -> None:
    assert call(environment(bare), "setup").code == 0
    with psycopg.connect(bare.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA relay CASCADE")
        scripts = list(planning.plan(settings(bare), accept_gap=False))
        assert "-- relay was dropped; what 'already exists' was not" in scripts
        for script in scripts:
            with suppress(*EXISTS):  # psql goes on
                connection.execute(script.encode())
    assert one(bare.database_url, CHECKPOINT) == bare.name
    assert call(environment(bare), "setup").output.startswith("schema: up to date")


def test_a_dry_run_of_an_upgrade_leaves_the_position_alone(bare: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(environment(bare), "setup").code == 0
    files = [*sql.schema(), sql.SchemaFile("999_more.sql", "CREATE TABLE relay.more ()", "x")]
    monkeypatch.setattr(sql, "schema", lambda: files)
    output = call(environment(bare), "setup", "--dry-run").output
    assert "CREATE TABLE relay.more" in output
    assert "relay.checkpoint" not in output
