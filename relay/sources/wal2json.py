r"""Decoder of wal2json's format version 2: one JSON object for each BEGIN, INSERT, message and COMMIT. Pure.

https://github.com/eulerto/wal2json. Transactions arrive whole and in commit order. B and C carry `lsn`, the commit
record's position, and `nextlsn`, its end: the end LSN is what may be reported as flushed. A row's own LSN is neither
unique (COPY) nor monotone across transactions, so it is not used.

The first row of a table is parsed as JSON, and shows what every row of it looks like. Further ones are cut at
`{"name":"`, which is exact: inside a JSON string a quotation mark always follows a backslash. That takes less than
half of the time. Whatever does not look like the first row (a column more or less, a NULL, an escape that is not
expected) is parsed as JSON again, so the short cut decides how fast a row is read and never what is read.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from relay.errors import UndecodableChange
from relay.event import Boundary, Fence, OutboxEvent
from relay.position import Lsn
from relay.sources.layout import BYTEA, FIELDS, NATIVE, Column, Layout, Reader, bytea
from relay.sources.messages import FENCE, Messages
from runtime.errors import ConfigurationProblem

PLUGIN = "wal2json"

_COLUMN = b'{"name":"'
_VALUE = b',"value":'
_TABLE = b',"schema":'
_COMMIT = re.compile(rb'\{"action":"C","timestamp":"([^"]+)","lsn":"[^"]+","nextlsn":"([0-9A-F]+)/([0-9A-F]+)"\}')
_BEGUN = re.compile(rb'"timestamp":"([^"]+)"')
# Numbers stay the text that Postgres wrote.
_JSON = json.JSONDecoder(parse_float=str, parse_int=str)


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
        self._messages = Messages(message_prefix)
        self._begin = b""
        self._tables: dict[bytes, _Rows | None] = {}

    def decode(self, payload: bytes) -> OutboxEvent | Boundary | Fence | None:
        """Return what `payload` means for the relay: nothing for a BEGIN or for a change that is no outbox event.

        Raises UndecodableChange, naming the column, when a row lacks what an event needs.
        """
        match payload[11:12]:  # behind `{"action":"`
            case b"I":
                return self._row(payload)
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

    def _row(self, payload: bytes) -> OutboxEvent | None:
        parts = payload.split(_COLUMN)
        head = parts[0]
        table = head[head.find(_TABLE) :]
        try:
            rows = self._tables[table]
        except KeyError:
            return self._learn(table, parts, payload)
        if rows is None:
            return None
        return rows.event(parts, self._committed_at) or self._learn(table, parts, payload)

    def _learn(self, table: bytes, parts: Sequence[bytes], payload: bytes) -> OutboxEvent | None:
        """Read a row of a table that has not been seen yet, or one that looks different, and note how it looks."""
        try:
            change = _JSON.decode(payload.decode())
            schema, name = change["schema"], change["table"]
            columns = [Column(column["name"], int(column.get("typeoid", 0))) for column in change["columns"]]
            values = [_text(column["value"]) for column in change["columns"]]
        except (KeyError, TypeError, ValueError) as error:
            raise _unknown(payload) from error
        if self._layout is None or not self._layout.holds(schema, name):
            self._tables[table] = None
            return None
        if self._layout != NATIVE and not all(column.oid for column in columns):
            raise UndecodableChange(
                f"this wal2json does not tell the types of {schema}.{name}, so bytes cannot be told from text",
                remedy="install wal2json 2.5 or later, or use RELAY_PLUGIN=pgoutput",
            )
        reader = self._layout.reader(columns)
        values = [b"\\x" + v if v is not None and c.oid == BYTEA else v for c, v in zip(columns, values, strict=True)]
        event = reader.event(values, self._committed_at)
        rows = _Rows(parts, reader)
        if rows.event(parts, self._committed_at) == event:
            self._tables[table] = rows
        return event

    def _message(self, payload: bytes) -> OutboxEvent | Fence | None:
        try:
            # A message holds any bytes, which wal2json passes on as they are.
            message = json.loads(payload.decode(errors="surrogateescape"))
            prefix, content = message["prefix"], message["content"].encode(errors="surrogateescape")
        except (KeyError, TypeError, ValueError) as error:
            raise _unknown(payload) from error
        return self._messages.read(prefix, content, self._committed_at) if message["transactional"] else None


class _Rows:
    """The rows of one table that look like the one that was cut into `parts`."""

    def __init__(self, parts: Sequence[bytes], reader: Reader) -> None:
        self._reader = reader
        self._count = len(parts)
        self._plan = [
            (place, column + 1, *_cut(parts[column + 1], FIELDS[place], convert, last=column + 2 == len(parts)))
            for place, column, convert in reader.plan
        ]

    def event(self, parts: Sequence[bytes], committed_at: Callable[[], datetime]) -> OutboxEvent | None:
        """Return the event in a row that was cut into `parts`, or None for one that looks different."""
        if len(parts) != self._count:
            return None
        event = list(self._reader.absent)
        try:
            for place, column, start, first, last, convert in self._plan:
                part = parts[column]
                if part[:first] != start:
                    return None
                event[place] = convert(part[first:last])
        except (ValueError, RecursionError):
            return None
        return self._reader.complete(event, committed_at)


def _cut(part: bytes, field: str, convert: Callable[[bytes], Any], *, last: bool) -> tuple[bytes, int, int, Any]:
    """Return how the literals of a column like that in `part` begin, where they stand, and what reads them."""
    start = part[: part.index(_VALUE) + len(_VALUE)]
    end = -len("}]}" if last else "},")
    bare = part[len(start) : end][-1:].isdigit()
    match field:
        case "seq" | "aggregate_version":
            return start, len(start), end, convert
        case "exchange" | "routing_key":
            return start, len(start), end, _text_or_null
        case "created_at" if bare:
            return start, len(start), end, convert
        case "created_at":
            read = convert
        case "payload":
            read = _hex if convert is bytea else _unescaped
        case "headers":
            read = _then(convert)
        case _ if bare:
            return start, len(start), end, _number
        case _:
            read = _string
    return start + b'"', len(start) + 1, end - 1, read


def _boundary(payload: bytes) -> Boundary:
    match = _COMMIT.fullmatch(payload)
    if match is None:
        raise _unknown(payload)
    committed, high, low = match.groups()
    return Boundary(Lsn(int(high, 16) << 32 | int(low, 16)), datetime.fromisoformat(committed.decode()).timestamp())


def _text(value: Any) -> bytes | None:  # noqa: ANN401 - any JSON
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return None if value is None else value.encode()


def _string(literal: bytes) -> str:
    text = literal.decode()
    return text if "\\" not in text else json.loads(f'"{text}"')


def _unescaped(literal: bytes) -> bytes:
    """Undo the escapes. Most texts, and all JSON without escapes of its own, have no others than quotation marks."""
    text = literal.replace(b'\\"', b'"')
    return text if b"\\" not in text else json.loads(b'"%b"' % literal).encode()


def _then(convert: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    return lambda literal: convert(_unescaped(literal))


def _text_or_null(literal: bytes) -> str | None:
    if literal == b"null":
        return None
    if literal[:1] != b'"':
        raise ValueError("it is no string")
    return _string(literal[1:-1])


def _number(literal: bytes) -> str:
    if not literal[-1:].isdigit():
        raise ValueError("it is no number")
    return literal.decode()


def _hex(literal: bytes) -> bytes:
    return bytes.fromhex(literal.decode())


def _unknown(payload: bytes) -> UndecodableChange:
    return UndecodableChange(
        f"wal2json wrote what the relay does not know: {payload[:100]!r}",
        remedy="the relay knows wal2json 2.3 and later; see https://github.com/eulerto/wal2json",
    )
