"""A value of any type reads as the text that Postgres gives for it, or its column is refused: streamed or polled."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.rows import kwargs_row

from outboxkit import sql
from relay.core.errors import SourceRefused
from relay.core.event import OutboxEvent
from relay.core.position import Snapshot
from relay.sources import types
from relay.sources.layout import Layout, layout
from relay.sources.tables import check
from relay.sources.wal.decoders.decoding import decoder
from relay.sources.wal.decoders.relations import Relations
from relay.storage.facts import TableFacts, table_facts
from sandbox.lifetime.isolation import Isolated
from tests.contract.polled import IN_ONE, polled
from tests.contract.recording import PLUGINS, SESSION

POLLING = "polling"
TX = "tx xid8 DEFAULT pg_current_xact_id()"

TYPES = """
CREATE TYPE mood AS ENUM ('fine', 'so so');
CREATE TYPE pair AS (a bool, b char(5), c inet, d float8, e numeric, f bytea, g text);
CREATE DOMAIN d_bool AS bool; CREATE DOMAIN d_d_bool AS d_bool; CREATE DOMAIN d_char AS char(5);
CREATE DOMAIN d_inet AS inet; CREATE DOMAIN d_numeric AS numeric; CREATE DOMAIN d_float AS float8;
CREATE DOMAIN d_text AS text; CREATE DOMAIN d_uuid AS uuid; CREATE DOMAIN d_mood AS mood
"""
VALUES: dict[str, Sequence[str]] = {
    "bool": ["true", "false"],
    "d_bool": ["true", "false"],
    "d_d_bool": ["true", "false"],
    "bool[]": ["{t,f,NULL}"],
    "int2": ["-32768"],
    "int4": ["0"],
    "int8": ["9223372036854775807", "-9223372036854775808"],
    "oid": ["4294967295"],
    "numeric": ["NaN", "Infinity", "-Infinity", "1.10", "-0.00", "1e40", "0.0000000001", "9" * 400],
    "numeric(20)": ["12345678901234567890"],
    "d_numeric": ["NaN", "Infinity", "1.10"],
    "numeric[]": ["{NaN,1.0}"],
    "float4": ["0.1", "-0", "NaN", "Infinity", "1e30"],
    "float8": ["0.1", "-0", "NaN", "Infinity", "-Infinity", "1e16", "1e-7", "1.5", "5e-324", "100"],
    "d_float": ["-0", "NaN", "1e16"],
    "float8[]": ["{-0,NaN,Infinity}"],
    "money": ["1234.5", "-0.01"],
    "text": ["", " ", "ab ", "\\x00ff", "null", "NaN", 'a"b\\c', "a\tb\nc\u2028\x7f", "größe 😀", "t"],
    "d_text": ["ab ", "f"],
    "varchar(5)": ["ab   "],
    "char(5)": ["ab", " ab", ""],
    "char": ["t"],
    "d_char": ["ab"],
    "char(5)[]": ["{ab}"],
    '"char"': ["a", ""],
    "name": ["abc"],
    "uuid": ["7F2C5AE0-7c53-4b5e-8a0c-6a8f0b6b3c11"],
    "d_uuid": ["7F2C5AE0-7c53-4b5e-8a0c-6a8f0b6b3c11"],
    "inet": ["10.0.0.1", "10.0.0.1/8", "::1", "::ffff:1.2.3.4", "fe80::/10"],
    "d_inet": ["10.0.0.1"],
    "inet[]": ["{10.0.0.1}"],
    "cidr": ["10.0.0.1", "10.0.0.0/8", "::1"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "interval": ["1 day 02:03:04.5", "-1 month 1 day", "0"],
    "date": ["2026-01-01", "infinity", "0044-03-15 BC"],
    "time": ["01:02:03.4"],
    "timetz": ["01:02:03+01:30"],
    "timestamp": ["2026-01-01 00:00:00.5", "infinity", "20000-01-01"],
    "timestamptz": ["2026-01-01 00:00:00.5+01", "-infinity", "0044-03-15 BC"],
    "timestamptz[]": ["{2026-01-01 00:00:00+01}"],
    "json": ['{"a":  1.10, "a": [1e400, null]}', "null", ' "x" '],
    "jsonb": ['{"a":  1.10, "b": "\\u00e9"}', "null"],
    "bit(3)": ["101"],
    "varbit": ["10", ""],
    "xml": ["<a/>", "<a b='c'>d</a>"],
    "mood": ["so so"],
    "d_mood": ["so so"],
    "mood[]": ["{fine,so so}"],
    "pair": ['(t,ab,10.0.0.1,-0,NaN,"\\\\x00","a b")'],
    "bytea[]": ['{"\\\\x00ff"}'],
    "int4range": ["[1,3]", "empty"],
    "nummultirange": ["{[1.0,2.0),[3,4)}"],
    "point": ["(1,-0)"],
    "polygon": ["((0,0),(1,1))"],
    "tsvector": ["a:1 b"],
    "tsquery": ["a & b"],
    "jsonpath": ["$.a"],
    "pg_lsn": ["0/16B3748"],
    "xid": ["12"],
    "xid8": ["12"],
    "pg_snapshot": ["1:3:2"],
    "tid": ["(0,1)"],
    "refcursor": ["x"],
}
REFUSED = {"wal2json": {"numeric", "numeric(20)", "float4", "float8", "oid"}, "pgoutput": {"oid"}, POLLING: {"oid"}}

FIRST = Snapshot.parse("3:3:")
"""It sees no transaction of anybody."""
Texts = list[tuple[str, bytes]]


def test_every_value_is_the_text_that_postgres_gives_or_its_column_is_refused(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True, options=SESSION) as connection:
        connection.execute(TYPES)
        tables = {kind: _made(connection, f"t{number}", kind) for number, kind in enumerate(VALUES)}
        connection.execute('CREATE PUBLICATION "p" FOR ALL TABLES WITH (publish_via_partition_root = true)')
        for plugin in PLUGINS:
            connection.execute(sql.query("slot_create"), {"slot": f"{isolated.name}_{plugin}", "plugin": plugin})
        for kind, of in tables.items():
            for value in VALUES[kind]:
                insert = f"INSERT INTO {of.name} VALUES ('1', 't', %s::{kind}, 't', %s::{kind})"  # noqa: S608 - ours
                connection.execute(insert.encode(), (value, value))
        found = dict[tuple[str, str], Texts]()
        refused = dict[str, set[str]]()
        for plugin in PLUGINS:
            payloads = _stream(connection, f"{isolated.name}_{plugin}", plugin)
            for kind, of in tables.items():
                facts = _facts(connection, of)
                with _refusal(refused.setdefault(plugin, set()), kind):
                    check(facts, of, plugin=plugin)
                    found[plugin, kind] = _texts(_events(payloads, plugin, of, facts))
        for kind, of in tables.items():
            with _refusal(refused.setdefault(POLLING, set()), kind):
                found[POLLING, kind] = _texts(_polled(isolated, of, _facts(connection, of)))
        expected = {kind: _expected(connection, of) for kind, of in tables.items()}

    assert {key: texts for key, texts in found.items() if texts != expected[key[1]]} == {}
    assert len(found) + sum(map(len, refused.values())) == len(tables) * (len(PLUGINS) + 1)
    assert refused == REFUSED


@pytest.mark.parametrize("reader", [*PLUGINS, POLLING])
@pytest.mark.parametrize("field", ["id", "aggregatetype", "type"])
def test_a_boolean_is_a_word_in_any_field(isolated: Isolated, field: str, reader: str) -> None:
    columns = dict.fromkeys(("id", "aggregatetype", "aggregateid", "type", "payload"), "text") | {field: "bool"}
    with psycopg.connect(isolated.database_url, autocommit=True, options=SESSION) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(map(' '.join, columns.items()))}, {TX})".encode())
        connection.execute('CREATE PUBLICATION "p" FOR TABLE t')
        if reader in PLUGINS:
            connection.execute(sql.query("slot_create"), {"slot": isolated.name, "plugin": reader})
        connection.execute("INSERT INTO t VALUES ('t', 't', 't', 't', 't')")
        of = layout("debezium", "public.t", {}, partitioned=False)
        facts = _facts(connection, of)
        if reader in PLUGINS:
            (event,) = _events(_stream(connection, isolated.name, reader), reader, of, facts)
        else:
            (event,) = _polled(isolated, of, facts)

    of_field = {"id": event.id, "aggregatetype": event.aggregate_type, "type": event.event_type}
    assert of_field == {name: "true" if name == field else "t" for name in of_field}


def test_every_type_whose_cast_to_text_is_not_its_output_is_known(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url) as connection:
        functions = connection.execute(
            "SELECT castsource::int FROM pg_cast WHERE casttarget = 'text'::regtype AND castmethod = 'f'"
        ).fetchall()

    same = {18, 19, 650}  # "char" and name have one form only; a cidr has its mask in both
    assert {oid for (oid,) in functions} == {*types.AS_TEXT, *same}


@contextmanager
def _refusal(refused: set[str], kind: str) -> Iterator[None]:
    """Add `kind` to `refused` if its table is."""
    try:
        yield
    except SourceRefused:
        refused.add(kind)


def _made(connection: psycopg.Connection[tuple[object, ...]], name: str, kind: str) -> Layout:
    columns = f"id text, aggregatetype text, aggregateid {kind}, type text, payload {kind}, {TX}"
    connection.execute(f"CREATE TABLE {name} ({columns})".encode())
    return layout("debezium", f"public.{name}", {}, partitioned=False)


def _facts(connection: psycopg.Connection[tuple[object, ...]], of: Layout) -> TableFacts:
    asked = {"schema": of.schema, "table": of.table, "publication": "p"}
    found = connection.cursor(row_factory=kwargs_row(table_facts)).execute(sql.query("outbox_table"), asked).fetchone()
    assert found is not None
    return found


def _stream(connection: psycopg.Connection[tuple[object, ...]], slot: str, plugin: str) -> Sequence[bytes]:
    """Return the stream of all tables."""
    of = layout("debezium", "public.every", {}, partitioned=False)
    _, options = decoder(plugin, of, None, publication="p", relations=Relations.of(of, TableFacts("r")))
    chosen = [text for name, value in options.items() if name != "add-tables" for text in (name, value)]
    peek = "SELECT data FROM pg_logical_slot_peek_binary_changes(%s, NULL, NULL, VARIADIC %s)"
    return [payload for (payload,) in connection.execute(peek, (slot, chosen)).fetchall() if isinstance(payload, bytes)]


def _events(payloads: Sequence[bytes], plugin: str, of: Layout, facts: TableFacts) -> list[OutboxEvent]:
    made, _ = decoder(plugin, of, None, publication="p", relations=Relations.of(of, facts))
    return [item for item in made.decode(payloads) if isinstance(item, OutboxEvent)]


def _polled(isolated: Isolated, of: Layout, facts: TableFacts) -> list[OutboxEvent]:
    found = polled(isolated.database_url, of, facts, after=FIRST, batch=IN_ONE)
    return [item for item in found if isinstance(item, OutboxEvent)]


def _texts(events: Sequence[OutboxEvent]) -> Texts:
    return [(event.aggregate_id, event.payload) for event in events]


def _expected(connection: psycopg.Connection[tuple[object, ...]], of: Layout) -> Texts:
    query = f"SELECT aggregateid::text, payload::text FROM {of.name}"  # noqa: S608 - a name of ours
    rows = connection.execute(query.encode()).fetchall()
    return [(str(aggregate), str(payload).encode()) for aggregate, payload in rows]
