"""`relay setup`: it does what `--dry-run` prints, and creates again what is missing."""

import psycopg
import pytest

from outboxkit import sql
from relay.operating.setup import steps
from sandbox import Isolated
from tests.integration.relay.stage import call, environment, one, settings

OURS = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('relay', 'outbox', 'tasks')"
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
CHECKPOINT = "SELECT slot FROM relay.checkpoint WHERE name = 'relay'"


@pytest.fixture
def bare(isolated: Isolated) -> Isolated:
    """Return a database in which nothing is set up."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("DROP SCHEMA relay, outbox, tasks, outbox_setup CASCADE")
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
        for script in steps.plan(settings(bare, plugin=plugin), accept_gap=False):
            connection.execute(script.encode())
    assert one(bare.database_url, CHECKPOINT) == bare.name

    said = call(environment(bare, RELAY_PLUGIN=plugin), "setup").output.splitlines()
    assert said[0] == "schema: up to date"
    assert said[1].startswith(f"slot: '{bare.name}' ({plugin}) exists")


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
        connection.execute(f"CREATE TABLE {table} (id uuid)".encode())
    assert call(variables, "setup").code == 0


def test_a_dry_run_after_setup_prints_neither_slot_nor_checkpoint(bare: Isolated) -> None:
    assert call(environment(bare), "setup").code == 0
    output = call(environment(bare), "setup", "--dry-run").output
    assert "pg_create_logical_replication_slot" not in output
    assert "relay.checkpoint" not in output


def test_a_dry_run_after_a_schema_was_dropped_prints_what_makes_it_again(bare: Isolated) -> None:
    assert call(environment(bare), "setup").code == 0
    with psycopg.connect(bare.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA relay CASCADE")
        for script in steps.plan(settings(bare), accept_gap=False):
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
