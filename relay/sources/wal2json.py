r"""Decoder of wal2json's format version 2: one JSON object for each BEGIN, INSERT, message and COMMIT. Pure.

https://github.com/eulerto/wal2json. Transactions arrive whole and in commit order. B and C carry `lsn`, the commit
record's position, and `nextlsn`, its end: the end LSN is what may be reported as flushed. A row's own LSN is neither
unique (COPY) nor monotone across transactions, so it is not used.

msgspec parses a row in a fifth of the json module's time. It would round a numeric, so it is told to take texts and
integers only; a row with anything else is parsed again by the json module, which leaves numbers the text that Postgres
wrote. A row of our own table is parsed by its very columns, which takes half as long again; one that looks different
(a column more or less, a NULL) is read like a foreign one, so this decides how fast it is read and never what is read.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from relay.errors import UndecodableChange
from relay.event import Boundary, Fence, OutboxEvent
from relay.position import Lsn
from relay.sources.layout import BYTEA, CONVERSIONS, NATIVE, Column, Layout, Reader
from relay.sources.messages import FENCE, Messages
from runtime.errors import ConfigurationProblem

PLUGIN = "wal2json"

_BEGUN = re.compile(rb'"timestamp":"([^"]+)"')
# Numbers stay the text that Postgres wrote.
_EXACT = json.JSONDecoder(parse_float=str, parse_int=str)


class _Value(msgspec.Struct, gc=False):
    name: str
    value: str | int | None
    typeoid: int = 0


class _Insert(msgspec.Struct, gc=False):
    schema: str
    table: str
    columns: list[_Value]


_INSERT = msgspec.json.Decoder(_Insert)


class _Commit(msgspec.Struct, gc=False):
    timestamp: str
    nextlsn: str


_COMMIT = msgspec.json.Decoder(_Commit)


def _native() -> msgspec.json.Decoder[Any]:
    """Return what parses a row of our own table: these columns in this order, and no NULL but where one may be."""
    types = {
        "id": str, "seq": int, "tx": str, "aggregate_type": str, "aggregate_id": str, "aggregate_version": int,
        "event_type": str, "payload": str, "headers": str, "exchange": str | None, "routing_key": str | None,
        "created_at": str,
    }  # fmt: skip
    columns = tuple(
        msgspec.defstruct(name, [("value", of)], tag_field="name", tag=name, gc=False) for name, of in types.items()
    )
    fields = [("table", str), ("schema", str), ("columns", tuple[columns])]  # type: ignore[valid-type]
    return msgspec.json.Decoder(msgspec.defstruct("NativeInsert", fields, gc=False))


_NATIVE_INSERT = _native()
_headers = CONVERSIONS["headers"]


class _Table(NamedTuple):
    looks: Sequence[str | int]
    """The names of its columns, and their types where they were asked for."""
    reader: Reader | None
    """None if it is not the outbox."""
    binary: Sequence[int]
    """Which columns are bytea."""


def options(layout: Layout | None, message_prefix: str | None) -> Mapping[str, str]:
    """Return the options of a stream of `layout`'s rows and of the messages with `message_prefix`.

    Raises ConfigurationProblem for a prefix that wal2json's list of prefixes cannot hold.
    """
    if message_prefix is not None and re.search(r"[\s,\\]", message_prefix):
        raise ConfigurationProblem(
            f"wal2json cannot be asked for messages with the prefix {message_prefix!r}",
            remedy="choose a prefix without blanks, commas and backslashes, or RELAY_PLUGIN=pgoutput",
        )
    chosen = {
        "format-version": "2",
        "include-transaction": "1",
        "include-lsn": "1",
        "include-timestamp": "1",
        "include-types": "0",
        "add-tables": "" if layout is None else _tables(layout),
        "actions": "insert",
        "add-msg-prefixes": f"{FENCE},{message_prefix}" if message_prefix else FENCE,
    }
    # A bytea arrives as bare hex, which looks like text: only its type tells. Our own table has none.
    return chosen if layout == NATIVE else chosen | {"include-type-oids": "1"}


def _tables(layout: Layout) -> str:
    """Name the table, or all of its schema where there are partitions, whose names are not known beforehand."""
    schema, table = (re.sub(r"(\W)", r"\\\1", name) for name in (layout.schema, layout.table))
    return f"{schema}.*" if layout.partitioned else f"{schema}.{table}"


class Wal2JsonDecoder:
    """Turns the payloads of one stream, in order, into events, boundaries and fences."""

    def __init__(self, layout: Layout | None = NATIVE, message_prefix: str | None = None) -> None:
        self.in_transaction = False
        """Whether a BEGIN has been seen and its COMMIT has not."""
        self._layout = layout
        self._typed = layout != NATIVE
        self._messages = Messages(message_prefix)
        self._begin = b""
        self._tables: dict[tuple[str, str], _Table] = {}
        self._outboxes: set[tuple[str, str]] = set()

    def decode(self, payload: bytes) -> OutboxEvent | Boundary | Fence | None:
        """Return what `payload` means for the relay: nothing for a BEGIN or for a change that is no outbox event.

        Raises UndecodableChange, naming the column, when a row lacks what an event needs.
        """
        match payload[11:12]:  # behind `{"action":"`
            case b"I":
                return (None if self._typed else self._native_row(payload)) or self._any_row(payload)
            case b"B":
                self.in_transaction = True
                self._begin = payload
                return None
            case b"C":
                self.in_transaction = False
                return _boundary(payload)
            case b"M":
                return self._message(payload)
            case b"T" | b"U" | b"D":
                return None
        raise _unknown(payload)

    def _committed_at(self) -> datetime:
        match = _BEGUN.search(self._begin)
        if match is None:
            raise _unknown(self._begin)
        return datetime.fromisoformat(match[1].decode())

    def _native_row(self, payload: bytes) -> OutboxEvent | None:
        """Return the event in a row of our own table; None for one that looks different or comes first."""
        try:
            row = _NATIVE_INSERT.decode(payload)
            if (row.schema, row.table) not in self._outboxes:
                return None
            key, seq, _, kind, aggregate, version, event, body, headers, exchange, routing_key, at = row.columns
            if not key.value or not at.value.endswith("+00"):
                return None
            return OutboxEvent(
                key.value, seq.value, kind.value, aggregate.value, version.value, event.value, body.value.encode(),
                _headers(headers.value), exchange.value, routing_key.value, datetime.fromisoformat(at.value),
            )  # fmt: skip
        except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
            return None

    def _any_row(self, payload: bytes) -> OutboxEvent | None:
        change = _insert(payload)
        name, columns = (change.schema, change.table), change.columns
        looks: list[str | int] = [column.name for column in columns]
        if self._typed:
            looks += [column.typeoid for column in columns]
        table = self._tables.get(name)
        if table is None or table.looks != looks:
            table = self._tables[name] = _Table(looks, *self._readers(change))
        if table.reader is None:
            return None
        self._outboxes.add(name)
        values: list[str | int | None] = [column.value for column in columns]
        for place in table.binary:
            values[place] = None if values[place] is None else f"\\x{values[place]}"
        return table.reader.event(values, self._committed_at)

    def _readers(self, change: _Insert) -> tuple[Reader | None, Sequence[int]]:
        """Return what reads the rows of a table like this one, if it is the outbox, and where bytes stand in them."""
        if self._layout is None or not self._layout.holds(change.schema, change.table):
            return None, ()
        if self._typed and not all(column.typeoid for column in change.columns):
            raise UndecodableChange(
                f"this wal2json does not tell the types of {change.schema}.{change.table}, "
                "so bytes cannot be told from text",
                remedy="install wal2json 2.5 or later, or use RELAY_PLUGIN=pgoutput",
            )
        reader = self._layout.reader([Column(column.name, column.typeoid) for column in change.columns])
        return reader, [place for place, column in enumerate(change.columns) if column.typeoid == BYTEA]

    def _message(self, payload: bytes) -> OutboxEvent | Fence | None:
        try:
            # A message holds any bytes, which wal2json passes on as they are.
            message = json.loads(payload.decode(errors="surrogateescape"))
            prefix, content = message["prefix"], message["content"].encode(errors="surrogateescape")
        except (KeyError, TypeError, ValueError) as error:
            raise _unknown(payload) from error
        return self._messages.read(prefix, content, self._committed_at) if message["transactional"] else None


def _insert(payload: bytes) -> _Insert:
    try:
        return _INSERT.decode(payload)
    except msgspec.ValidationError:
        pass  # a value that is neither text nor an integer
    except msgspec.DecodeError as error:
        raise _unknown(payload) from error
    try:
        change = _EXACT.decode(payload.decode())
        columns = [
            _Value(column["name"], _text(column["value"]), int(column.get("typeoid", 0)))
            for column in change["columns"]
        ]
        return _Insert(change["schema"], change["table"], columns)
    except (KeyError, TypeError, ValueError) as error:
        raise _unknown(payload) from error


def _text(value: object) -> str | None:
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
    raise TypeError("a column holds neither a scalar nor NULL")


def _boundary(payload: bytes) -> Boundary:
    try:
        commit = _COMMIT.decode(payload)
        high, _, low = commit.nextlsn.partition("/")
        end = Lsn(int(high, 16) << 32 | int(low, 16))
        return Boundary(end, datetime.fromisoformat(commit.timestamp).timestamp())
    except ValueError as error:
        raise _unknown(payload) from error


def _unknown(payload: bytes) -> UndecodableChange:
    return UndecodableChange(
        f"wal2json wrote what the relay does not know: {payload[:100]!r}",
        remedy="the relay knows wal2json 2.3 and later; see https://github.com/eulerto/wal2json",
    )
