"""The types with which drivers call outbox.publish and tasks.submit: for each combination there is one function.

A driver names the type of a parameter, or leaves it to Postgres, which then tells the driver what to send
(https://www.postgresql.org/docs/current/typeconv-func.html). `unknown` stands for the second.
"""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Json, Jsonb

from sandbox import Isolated

Connection = psycopg.Connection[Any]

STRING = ("unknown", "text", "varchar")
JSON = (*STRING, "json", "jsonb")
INTEGER = ("unknown", "int2", "int4", "int8")
ID = (*STRING, "uuid")
AGGREGATE_ID = (*STRING, "int2", "int4", "int8", "numeric", "uuid")
PUBLISH = ("aggregate_type", "aggregate_id", "aggregate_version", "event_type", "payload")

AN_ID = UUID("00000000-0000-0000-0000-00000000002a")


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


def prepare(connection: Connection, function: str, types: tuple[str, ...], names: tuple[str, ...] = ()) -> str:
    """Prepare a call of `function` with parameters of `types`, named if there are names; return why it fails, or ''."""
    values = [f"${number}" for number in range(1, len(types) + 1)]
    given = [f"{name} => {each}" for name, each in zip(names, values, strict=True)] if names else values
    try:
        connection.execute(f"PREPARE form ({', '.join(types)}) AS SELECT {function}({', '.join(given)})".encode())
        connection.execute("DEALLOCATE form")
    except psycopg.Error as error:
        return f"{names or ''} {error}"
    return ""


def failures(connection: Connection, function: str, forms: Iterator[tuple[str, ...]]) -> list[str]:
    return [failure for types in forms if (failure := prepare(connection, function, types))]


class TestEachCombinationOfTypes:
    def test_of_what_every_event_has(self, connection: Connection) -> None:
        forms = (
            (string, aggregate_id, version, string, payload)
            for string, aggregate_id, version, payload in product(STRING, AGGREGATE_ID, INTEGER, JSON)
        )
        assert failures(connection, "outbox.publish", forms) == []

    def test_of_what_an_event_may_have(self, connection: Connection) -> None:
        forms = (
            (string, aggregate_id, "int8", string, payload, headers, event_id, string, string)
            for string, aggregate_id, payload, headers, event_id in product(STRING, ID, JSON, JSON, ID)
        )
        assert failures(connection, "outbox.publish", forms) == []

    def test_of_a_task(self, connection: Connection) -> None:
        forms = (
            (string, payload, attempts, headers, task_id)[:arguments]
            for string, payload, attempts, headers, task_id in product(STRING, JSON, INTEGER, JSON, ID)
            for arguments in ([5] if (headers, task_id) != ("unknown", "unknown") else [1, 2, 3, 4, 5])
        )
        assert failures(connection, "tasks.submit", forms) == []

    def test_of_arguments_that_are_named(self, connection: Connection) -> None:
        failed = [prepare(connection, name, tuple(types.values()), tuple(types)) for name, types in NAMED]
        assert failed == [""] * len(NAMED)


NAMED: list[tuple[str, dict[str, str]]] = [
    ("outbox.publish", {**dict.fromkeys(PUBLISH, "unknown"), "exchange": "varchar"}),
    ("outbox.publish", {**dict.fromkeys(PUBLISH, "varchar"), "aggregate_version": "int4", "headers": "json"}),
    ("outbox.publish", {**dict.fromkeys(PUBLISH, "unknown"), "id": "unknown"}),
    ("outbox.publish", {**dict.fromkeys(PUBLISH, "unknown"), "payload": "json", "id": "uuid"}),
    ("tasks.submit", {"type": "unknown", "id": "unknown"}),
    ("tasks.submit", {"type": "varchar", "headers": "jsonb"}),
    ("tasks.submit", {"type": "varchar", "max_attempts": "int4"}),
    ("tasks.submit", {"type": "varchar", "payload": "varchar", "headers": "varchar", "id": "uuid"}),
]

INFERRED = {
    "outbox.publish($1, $2, $3, $4, $5)": "text, text, bigint, text, text",
    "outbox.publish($1, $2, $3, $4, $5, $6)": "text, text, bigint, text, text, text",
    "outbox.publish($1, $2, $3, $4, $5, id => $6)": "text, text, bigint, text, text, uuid",
    "outbox.publish($1, $2::bigint, $3, $4, $5::jsonb)": "text, bigint, bigint, text, jsonb",
    "tasks.submit($1, $2, $3, $4)": "text, text, bigint, text",
    "tasks.submit($1, id => $2)": "text, uuid",
}


def test_a_parameter_without_a_type_is_text_where_it_may_be(connection: Connection) -> None:
    """What pgx and asyncpg ask before they send: it is the reason why they take strings."""
    for number, call in enumerate(INFERRED):
        connection.execute(f"PREPARE form_{number} AS SELECT {call}".encode())
    rows = connection.execute(
        "SELECT array_to_string(parameter_types, ', ') FROM pg_prepared_statements ORDER BY name"
    ).fetchall()
    assert [row[0] for row in rows] == list(INFERRED.values())


def write(connection: Connection, call: str, *values: object) -> tuple[Any, ...]:
    """Run the call and return the event's aggregate id, payload, headers, id, exchange and routing key."""
    with connection.transaction(force_rollback=True):
        connection.execute(f"SELECT outbox.publish({call})".encode(), values)
        row: tuple[Any, ...] | None = connection.execute(
            "SELECT aggregate_id, payload::text, headers, id, exchange, routing_key FROM outbox.event"
        ).fetchone()
    assert row is not None
    return row


class TestWhatIsWritten:
    def test_payload_and_headers_are_the_json_that_was_given(self, connection: Connection) -> None:
        given = '{"by": "Zoë", "total": 120.50}'
        for payload, headers in product([*JSON[1:], "bytea"], JSON[1:]):
            value = given.encode() if payload == "bytea" else given
            row = write(connection, f"'order', '42', 7, 'paid', %s::{payload}, %s::{headers}", value, given)
            assert (row[1], row[2]) == (given, json.loads(given)), (payload, headers)

    def test_a_drivers_own_value_is_its_json(self, connection: Connection) -> None:
        for adapted, written in DRIVERS_OWN:
            assert write(connection, "'order', '42', 7, 'paid', %s", adapted)[1] == written

    def test_bytes_without_a_type_are_read_too(self, connection: Connection) -> None:
        for call in ("'order', '42', 7, 'paid', '\\x7b2261223a20317d'", "'order', 42, 7, 'paid', '{}', '\\x7b7d'"):
            assert write(connection, call)[1:3] in [('{"a": 1}', {}), ("{}", {})]

    def test_a_row_of_the_callers_table_is_an_object(self, connection: Connection) -> None:
        connection.execute("CREATE TABLE orders AS SELECT 42 AS id, 'paid' AS status")
        connection.execute("SELECT outbox.publish('order', id, 7, status, orders, '{}'::jsonb) FROM orders")
        row = connection.execute("SELECT aggregate_id, payload FROM outbox.event").fetchone()
        assert row == ("42", {"id": 42, "status": "paid"})

    def test_an_aggregate_id_is_its_text(self, connection: Connection) -> None:
        for value in (42, 2**62, 2**70, AN_ID, "a"):
            assert write(connection, "'order', %s, 7, 'paid', '{}'", value)[0] == str(value)

    def test_null_is_the_default(self, connection: Connection) -> None:
        for payload, headers, event_id in product(JSON, JSON, ID):
            call = f"'order', '42', 7, 'paid', {a('{}', payload)}, {a(None, headers)}, {a(None, event_id)}, NULL, NULL"
            row = write(connection, call)
            assert (row[2], type(row[3]), *row[4:]) == ({}, UUID, None, None), call

    def test_an_id_may_be_text(self, connection: Connection) -> None:
        assert write(connection, "'order', '42', 7, 'paid', '{}', NULL, %s::varchar", str(AN_ID))[3] == AN_ID

    def test_null_is_the_default_of_a_task(self, connection: Connection) -> None:
        calls = list(product(JSON, INTEGER, JSON))
        with connection.transaction():
            for payload, attempts, headers in calls:
                call = f"SELECT tasks.submit('t', {a(None, payload)}, {a(None, attempts)}, {a(None, headers)}, NULL)"
                connection.execute(call.encode())
        tasks = connection.execute("SELECT DISTINCT payload, max_attempts FROM tasks.task").fetchall()
        assert tasks == [({}, 5)]
        events = connection.execute("SELECT headers, count(*) FROM outbox.event GROUP BY 1").fetchall()
        assert events == [({}, len(calls))]

    def test_a_task_has_what_was_given(self, connection: Connection) -> None:
        call = "SELECT tasks.submit('t', %s::varchar, %s::bigint, %s::json, %s::varchar)"
        row = connection.execute(call, ['{"a": 1}', 3, '{"b": 2}', str(AN_ID)]).fetchone()
        assert row == (AN_ID,)
        tasks = connection.execute("SELECT id, payload, max_attempts FROM tasks.task").fetchall()
        assert tasks == [(AN_ID, {"a": 1}, 3)]
        assert connection.execute("SELECT headers FROM outbox.event").fetchone() == ({"b": 2},)


DRIVERS_OWN: list[tuple[object, str]] = [
    (Json({"a": 1}), '{"a": 1}'),
    (Jsonb(["é"]), '["é"]'),
    ([1, 2], "[1, 2]"),
    (True, "true"),
    ("7", "7"),
]


def a(value: str | None, type_: str) -> str:
    """Return `value` as a literal of a type; `unknown` is none."""
    literal = "NULL" if value is None else f"'{value}'"
    return literal if type_ == "unknown" else f"{literal}::{type_}"


class TestNotJson:
    def test_the_error_names_the_payload_and_how_to_mend_it(self, connection: Connection) -> None:
        calls = ("outbox.publish('order', '42', 7, 'paid', {})", "tasks.submit('t', {})")
        values = ("'paid'", "'paid'::varchar", "''", "'[1'::text", "'\\x70'::bytea")
        for call, value in product(calls, values):
            with pytest.raises(psycopg.errors.InvalidTextRepresentation, match=r"^payload is not JSON: ") as caught:
                connection.execute(f"SELECT {call.format(value)}".encode())
            assert caught.value.diag.message_hint == (
                'Pass as payload what a JSON library writes, such as {"total": 120};'
                ' a string has quotes of its own: "paid".'
            )

    def test_the_error_names_the_headers(self, connection: Connection) -> None:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation, match=r"^headers is not JSON: "):
            connection.execute("SELECT outbox.publish('order', '42', 7, 'paid', '{}', 'traceparent')")

    def test_what_jsonb_cannot_hold_is_named_as_such(self, connection: Connection) -> None:
        for value in ("'\"\\u0000\"'", "'\\x80'::bytea"):
            with pytest.raises(psycopg.DataError, match=r"^payload cannot be stored as JSON: ") as caught:
                connection.execute(f"SELECT outbox.publish('order', '42', 7, 'paid', {value})".encode())
            assert caught.value.diag.message_hint == "Take that part out of the payload."


def test_a_writer_needs_no_more_than_insert_by_column(connection: Connection) -> None:
    """Whatever the types are, each function runs with the caller's rights."""
    connection.execute("GRANT USAGE ON SCHEMA outbox, tasks TO pg_monitor")
    connection.execute(
        "GRANT INSERT (id, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange,"
        " routing_key) ON outbox.event TO pg_monitor"
    )
    connection.execute("SET ROLE pg_monitor")
    write = "SELECT outbox.publish('order', {}, 7, 'paid', '{{}}'::{}, '{{}}'::{})"
    for aggregate_id, payload, headers in product(["'42'", "42"], ["text", "json", "jsonb"], ["text", "json", "jsonb"]):
        connection.execute(write.format(aggregate_id, payload, headers).encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for table task"):
        connection.execute("SELECT tasks.submit('t', '{}'::json)")
    connection.execute("RESET ROLE")
    rights = connection.execute(
        "SELECT bool_or(prosecdef) FROM pg_proc WHERE pronamespace IN ('outbox'::regnamespace, 'tasks'::regnamespace)"
        " AND proname IN ('publish', 'submit', 'write_event', 'write_task', 'as_json', 'announce')"
    ).fetchone()
    assert rights == (False,)
