"""Schemas of ours that were dropped are made again, whole; those that stayed keep their rows."""

from typing import Any, LiteralString

import psycopg
import pytest

from outboxkit.sql.apply import SchemaChanged, apply, script
from sandbox import Isolated

CATALOG: LiteralString = """
WITH ours AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('outbox', 'tasks', 'relay', 'inbox')
), tables AS (
    SELECT c.oid, c.relname AS name, nspname FROM pg_class AS c JOIN ours AS o ON o.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
)
SELECT 'column', nspname, name, attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull
         || coalesce(pg_get_expr(adbin, adrelid), '') || coalesce(col_description(tables.oid, attnum), '')
FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL SELECT 'table', nspname, name, coalesce(obj_description(oid), '') FROM tables
UNION ALL SELECT 'constraint', nspname, name, conname || pg_get_constraintdef(c.oid)
FROM tables JOIN pg_constraint AS c ON conrelid = tables.oid
UNION ALL SELECT 'index', nspname, name, pg_get_indexdef(indexrelid) FROM tables JOIN pg_index ON indrelid = tables.oid
UNION ALL SELECT 'trigger', nspname, name, pg_get_triggerdef(t.oid)
FROM tables JOIN pg_trigger AS t ON tgrelid = tables.oid AND NOT tgisinternal
UNION ALL SELECT 'function', nspname, proname, pg_get_functiondef(p.oid)
FROM ours JOIN pg_proc AS p ON pronamespace = ours.oid
UNION ALL SELECT 'transition', from_status, to_status, meaning FROM tasks.transition
ORDER BY 1, 2, 3, 4
"""
DROPS: tuple[LiteralString, ...] = (
    "DROP SCHEMA relay CASCADE",
    "DROP SCHEMA tasks CASCADE",
    "DROP SCHEMA outbox CASCADE",
    "DROP SCHEMA inbox CASCADE",
    "DROP SCHEMA outbox, relay CASCADE",
    "DROP SCHEMA tasks, relay CASCADE",
    "DROP SCHEMA outbox, tasks CASCADE",
    "DROP SCHEMA outbox, tasks, relay CASCADE",
    "DROP SCHEMA outbox, tasks, relay, inbox, outbox_setup CASCADE",
)
Connection = psycopg.Connection[Any]


def catalog(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(CATALOG).fetchall()


@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("by_hand", [False, True], ids=["applied", "the printed script"])
def test_after_a_drop_all_of_it_is_there_again(drop: LiteralString, isolated: Isolated, by_hand: bool) -> None:  # noqa: FBT001 - a parameter
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        whole = catalog(connection)
        connection.execute(drop)
        if by_hand:
            for each in list(script(connection)):
                _run_by_hand(connection, each)
            assert apply(connection) == ([], [])
        else:
            done = apply(connection)
            names = drop.removeprefix("DROP SCHEMA ").removesuffix(" CASCADE").split(", ")
            assert bool(done.files) == ("outbox_setup" in names)
            assert done.files or set(done.restored) == set(names)
        assert catalog(connection) == whole
        assert apply(connection) == ([], [])
        connection.execute("SELECT tasks.submit('a')")


def _run_by_hand(connection: Connection, statement: str) -> None:
    """Run it as psql would without ON_ERROR_STOP; only what is there already may fail."""
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        assert "already exists" in str(error), statement  # noqa: PT017 - any other error fails the test


def test_the_schemas_that_stayed_keep_their_rows(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT tasks.submit('a')")
        connection.execute("DROP SCHEMA outbox CASCADE")
        assert apply(connection).restored == ["outbox"]
        assert connection.execute("SELECT count(*) FROM tasks.task").fetchone() == (1,)


@pytest.mark.parametrize("name", ["outbox", "relay"])
def test_a_schema_of_that_name_without_a_record_is_left_alone(name: str, isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox, outbox_setup CASCADE")
        connection.execute(f"CREATE SCHEMA {name}".encode())
        with pytest.raises(SchemaChanged, match=f"schema {name} exists, but nothing records") as refused:
            apply(connection)
        assert f"ALTER SCHEMA {name} RENAME TO <another name>" in refused.value.remedy
        connection.execute(f"ALTER SCHEMA {name} RENAME TO theirs".encode())
        assert apply(connection).files
