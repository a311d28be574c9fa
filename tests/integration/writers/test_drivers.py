"""Python's drivers call outbox.publish with the values that their users have, and name no type of Postgres'.

Each form writes one event; the value beside it says what is written. mypy knows no types of these drivers, so they are
imported as Any.
"""

import asyncio
import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Json, Jsonb

from sandbox import Isolated

asyncpg: Any = import_module("asyncpg")
psycopg2: Any = import_module("psycopg2")
psycopg2_extras: Any = import_module("psycopg2.extras")
sqlalchemy: Any = import_module("sqlalchemy")
postgresql: Any = import_module("sqlalchemy.dialects.postgresql")

AN_ID = UUID("00000000-0000-0000-0000-00000000002a")
TOTAL = {"total": 120}
TEXT = json.dumps(TOTAL)
TRACE = {"traceparent": "00-ab"}

Written = tuple[str, object, object]


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


def written(connection: psycopg.Connection[Any]) -> list[Written]:
    """Return aggregate id, payload and headers of each event in insert order."""
    rows = connection.execute("SELECT aggregate_id, payload, headers FROM outbox.event ORDER BY seq").fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


# Aggregate id, payload and headers as every driver takes them, and what is written.
PLAIN: list[tuple[tuple[object, object, object], Written]] = [
    (("a", TEXT, None), ("a", TOTAL, {})),
    ((42, TEXT, None), ("42", TOTAL, {})),
    ((2**40, TEXT, json.dumps(TRACE)), (str(2**40), TOTAL, TRACE)),
    ((AN_ID, TEXT, json.dumps(TRACE)), (str(AN_ID), TOTAL, TRACE)),
]
CALL = "SELECT outbox.publish('order', {0}, {0}, 'paid', {0}, {0}, {0}, {0}, {0})"


@pytest.mark.parametrize("placeholder", ["%s", "%t", "%b"])
@pytest.mark.parametrize("cursors", [psycopg.Cursor, psycopg.ClientCursor])
def test_psycopg_3(placeholder: str, cursors: type[psycopg.Cursor[Any]], connection: psycopg.Connection[Any]) -> None:
    adapted: list[tuple[tuple[object, object, object], Written]] = [
        ((42, Json(TOTAL), Json(TRACE)), ("42", TOTAL, TRACE)),
        (("a", Jsonb(TOTAL), Jsonb(TRACE)), ("a", TOTAL, TRACE)),
        ((AN_ID, Jsonb(TOTAL), json.dumps(TRACE)), (str(AN_ID), TOTAL, TRACE)),
        (("a", TEXT.encode(), None), ("a", TOTAL, {})),
    ]
    cursor = cursors(connection)
    for (aggregate_id, payload, headers), _ in PLAIN + adapted:
        values = [aggregate_id, 7, payload, headers, None, None, None]
        cursor.execute(CALL.format(placeholder).encode(), values)
        cursor.execute(CALL.format(placeholder).encode(), [*values[:4], AN_ID, "elsewhere", "a.b"])
    assert written(connection) == [result for _, result in PLAIN + adapted for _ in range(2)]


def test_psycopg2(connection: psycopg.Connection[Any], isolated: Isolated) -> None:
    psycopg2_extras.register_uuid()
    adapted = [((42, psycopg2_extras.Json(TOTAL), psycopg2_extras.Json(TRACE)), ("42", TOTAL, TRACE))]
    with psycopg2.connect(isolated.database_url) as other, other.cursor() as cursor:
        for (aggregate_id, payload, headers), _ in PLAIN + adapted:
            values = [aggregate_id, 7, payload, headers, None, None, None]
            cursor.execute(CALL.format("%s"), values)
            cursor.execute(CALL.format("%s"), [*values[:4], AN_ID, "elsewhere", "a.b"])
    assert written(connection) == [result for _, result in PLAIN + adapted for _ in range(2)]


def test_asyncpg_takes_strings_or_what_a_cast_names(connection: psycopg.Connection[Any], isolated: Isolated) -> None:
    async def write() -> None:
        other = await asyncpg.connect(isolated.database_url)
        call = "SELECT outbox.publish('order', $1{}, 7, 'paid', $2, $3, $4{}, $5)"
        for (aggregate_id, payload, headers), _ in PLAIN:
            cast = {str: "", int: "::bigint", UUID: "::uuid"}[type(aggregate_id)]
            await other.execute(call.format(cast, ""), aggregate_id, payload, headers, None, None)
            await other.execute(call.format(cast, "::uuid"), aggregate_id, payload, headers, AN_ID, "elsewhere")
        await other.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        await other.execute("SELECT outbox.publish('order', 'a', 7, 'paid', $1::jsonb)", TOTAL)
        await other.close()

    asyncio.run(write())
    assert written(connection) == [result for _, result in PLAIN for _ in range(2)] + [("a", TOTAL, {})]


@pytest.mark.parametrize("dialect", ["psycopg", "psycopg2", "asyncpg"])
def test_sqlalchemy(dialect: str, connection: psycopg.Connection[Any], isolated: Isolated) -> None:
    text, literal = sqlalchemy.String, sqlalchemy.literal
    typed = [
        (("a", literal(TOTAL, sqlalchemy.JSON), literal(TRACE, postgresql.JSONB)), ("a", TOTAL, TRACE)),
        ((literal(AN_ID, sqlalchemy.Uuid), literal(TEXT, text), literal(None, text)), (str(AN_ID), TOTAL, {})),
        ((42, literal(TOTAL, postgresql.JSONB), sqlalchemy.null()), ("42", TOTAL, {})),
    ]
    calls = [
        sqlalchemy.select(sqlalchemy.func.outbox.publish("order", aggregate_id, 7, "paid", payload, headers, *rest))
        for (aggregate_id, payload, headers), _ in PLAIN + typed
        for rest in ((), (None, None, "a.b"), (str(AN_ID),), (literal(AN_ID, sqlalchemy.Uuid), "elsewhere"))
    ]
    url = isolated.database_url.replace("postgresql://", f"postgresql+{dialect}://")
    if dialect == "asyncpg":
        asyncio.run(_through_asyncpg(url, calls))
    else:
        engine = sqlalchemy.create_engine(url)
        with engine.begin() as other:
            for call in calls:
                other.execute(call)
        engine.dispose()
    assert written(connection) == [result for _, result in PLAIN + typed for _ in range(4)]


async def _through_asyncpg(url: str, calls: list[Any]) -> None:
    engine = import_module("sqlalchemy.ext.asyncio").create_async_engine(url)
    async with engine.begin() as other:
        for call in calls:
            await other.execute(call)
    await engine.dispose()
