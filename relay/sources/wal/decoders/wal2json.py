r"""Decoder of wal2json's format version 2: one JSON object for each BEGIN, INSERT, message and COMMIT. Pure.

https://github.com/eulerto/wal2json. Transactions arrive whole and in commit order. B and C carry `lsn`, the position of
the commit record, and `nextlsn`, its end. The relay reports the end LSN as flushed. It does not use the LSN of a row,
which is neither unique (COPY) nor increasing across transactions.

Payloads that arrive together are parsed in one call of msgspec, joined to a JSON array, with exactly the columns of our
own table. If any of them differs (a row of another table, one column more or less, a NULL, a message that is not text),
each is parsed by itself, in the general way in which other tables are always read. This changes the speed, not the
result.

msgspec rounds a numeric, so it accepts only texts and integers here. A row with anything else is parsed by the json
module, which keeps numbers as the text that Postgres wrote.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec

from outboxkit.amqp.format import JSON
from outboxkit.errors import ConfigurationProblem
from relay.core.errors import UndecodableChange
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn
from relay.sources.fields import CONVERSIONS
from relay.sources.layout import NATIVE, Layout
from relay.sources.reader import Reader
from relay.sources.types import BYTEA, XID8
from relay.sources.wal.decoders.messages import FENCE, Messages
from relay.sources.wal.decoders.relations import TX, Name, Relations, moved, written_by

PLUGIN = "wal2json"

# Above this size, payloads are not copied into one array.
_TOGETHER_BYTES = 1 << 20

# Numbers stay the text that Postgres wrote.
_EXACT = json.JSONDecoder(parse_float=str, parse_int=str)


class _Value(msgspec.Struct, gc=False):
    name: str
    value: str | int | bool | None
    typeoid: int = 0


class _Begin(msgspec.Struct, tag_field="action", tag="B", gc=False):
    timestamp: str
    xid: int
    lsn: str = ""


class _Insert(msgspec.Struct, tag_field="action", tag="I", gc=False):
    schema: str
    table: str
    columns: list[_Value]


class _Message(msgspec.Struct, tag_field="action", tag="M", gc=False):
    transactional: bool
    prefix: str
    content: str


class _Commit(msgspec.Struct, tag_field="action", tag="C", gc=False):
    timestamp: str
    nextlsn: str


class _Truncate(msgspec.Struct, tag_field="action", tag="T", gc=False):
    pass


class _Update(msgspec.Struct, tag_field="action", tag="U", gc=False):
    pass


class _Delete(msgspec.Struct, tag_field="action", tag="D", gc=False):
    pass


def _native() -> Any:  # noqa: ANN401 - a type that is made here
    """Return the type of a row of our own table: these columns, in this order, with NULL only where it is allowed."""
    types = {
        "id": str, "seq": int, "tx": str, "aggregate_type": str, "aggregate_id": str, "aggregate_version": int,
        "event_type": str, "payload": str, "headers": str, "exchange": str | None, "routing_key": str | None,
        "created_at": str,
    }  # fmt: skip
    columns = tuple(
        msgspec.defstruct(name, [("value", of)], tag_field="name", tag=name, gc=False) for name, of in types.items()
    )
    fields = [("table", str), ("schema", str), ("columns", tuple[columns])]  # type: ignore[valid-type]
    return msgspec.defstruct("Native", fields, tag_field="action", tag="I", gc=False)


_Native = _native()
_CHANGE = msgspec.json.Decoder(_Begin | _Insert | _Message | _Commit | _Truncate | _Update | _Delete)
_NATIVE_CHANGES = msgspec.json.Decoder(list[_Begin | _Native | _Message | _Commit | _Truncate | _Update | _Delete])  # type: ignore[valid-type]
_headers = CONVERSIONS["headers"]
_OWN = frozenset({*NATIVE.columns.values(), TX})
"""The columns of our own table."""


class _Table(NamedTuple):
    description: Sequence[str | int]
    """The names of its columns, and their types if they were asked for."""
    reader: Reader
    binary: Sequence[int]
    """The places of bytea columns."""
    tx: int | None
    """The place of the column that names the row's transaction; None if the table has none that counts."""


def options(layout: Layout | None, message_prefix: str | None) -> Mapping[str, str]:
    """Return the options of a stream of the layout's rows and of the messages with `message_prefix`.

    Raises ConfigurationProblem for a prefix that cannot be written in wal2json's list of prefixes.
    """
    if message_prefix is not None and re.search(r"[\s,\\]", message_prefix):
        raise ConfigurationProblem(
            f"wal2json cannot filter messages by the prefix {message_prefix!r}",
            remedy="use a prefix without blanks, commas and backslashes, or RELAY_PLUGIN=pgoutput",
        )
    chosen = {
        "format-version": "2",
        "include-transaction": "1",
        "include-lsn": "1",
        "include-xids": "1",
        "include-timestamp": "1",
        "include-types": "0",
        "add-tables": "" if layout is None else _tables(layout),
        "actions": "insert",
        "add-msg-prefixes": ",".join([FENCE, *([message_prefix] if message_prefix else [])]),
    }
    # A bytea arrives as bare hex, like a text; only its type shows the difference. Our own table has none.
    return chosen if layout == NATIVE else chosen | {"include-type-oids": "1"}


def _tables(layout: Layout) -> str:
    """Return the table or, as the names of future partitions are not known, all tables of its schema."""
    schema, table = (re.sub(r"(\W)", r"\\\1", name) for name in (layout.schema, layout.table))
    return f"{schema}.*" if layout.partitioned else f"{schema}.{table}"


class Wal2JsonDecoder:
    """Turns the payloads of one stream, in order, into events, boundaries and fences."""

    def __init__(self, layout: Layout | None, messages: Messages, relations: Relations) -> None:
        self.in_transaction = False
        self._layout = layout
        self._typed = layout != NATIVE
        self._messages = messages
        self._relations = relations
        self._leaves = relations.leaves
        self._begun = self._commits_at = ""
        self._xid = 0
        self._tx = ""
        """What rows of our own table have as `tx` until transaction ids pass 32 bits."""
        self._tables: dict[Name, _Table] = {}

    def decode(self, payloads: Sequence[bytes | memoryview]) -> Iterator[OutboxEvent | Boundary[Lsn] | Fence | None]:
        """Yield one result for each of `payloads`; see `Decoder`."""
        for payload, change in zip(payloads, self._parsed(payloads), strict=True):
            kind = type(change)
            if kind is _Native:
                yield self._native_row(change) or self._row(_change(payload))
            elif kind is _Begin:
                self.in_transaction, self._begun, self._xid = True, change.timestamp, change.xid
                self._commits_at = change.lsn
                self._tx = str(change.xid)
                yield None
            elif kind is _Commit:
                self.in_transaction = False
                yield _boundary(change)
            elif kind is _Insert:
                yield self._row(change)
            elif kind is _Message:
                yield self._message(change)
            else:
                yield None

    def commits_at(self) -> Lsn:
        """Return where the commit record of the transaction begins that is being decoded, or was last."""
        try:
            return Lsn.parse(self._commits_at)
        except ValueError as error:
            raise _unknown(self._commits_at) from error

    def _parsed(self, payloads: Sequence[bytes | memoryview]) -> Iterable[Any]:
        if not self._typed and sum(map(len, payloads)) <= _TOGETHER_BYTES:
            with suppress(ValueError, RecursionError):  # msgspec's own errors are ValueErrors
                changes = _NATIVE_CHANGES.decode(b"[%b]" % b",".join(payloads))
                if len(changes) == len(payloads):
                    return cast("list[Any]", changes)
        return map(_change, payloads)

    def _committed_at(self) -> datetime:
        try:
            return datetime.fromisoformat(self._begun)
        except ValueError as error:
            raise _unknown(self._begun) from error

    def _native_row(self, row: Any) -> OutboxEvent | None:  # noqa: ANN401 - a type that is made above
        """Return the event in a row of our own table; None if `_row` has to read it."""
        key, seq, tx, kind, aggregate, version, event, body, headers, exchange, routing_key, at = row.columns
        if (row.schema, row.table) not in self._leaves or not key.value or not at.value.endswith("+00"):
            return None
        try:
            transaction = self._xid
            if tx.value != self._tx:
                if moved(tx.value, self._xid):
                    return None
                transaction = int(tx.value)
            return OutboxEvent(
                key.value, seq.value, kind.value, aggregate.value, version.value, event.value, body.value.encode(),
                _headers(headers.value), exchange.value, routing_key.value, datetime.fromisoformat(at.value),
                JSON, transaction,
            )  # fmt: skip
        except (ValueError, RecursionError):
            return None

    def _row(self, change: _Insert) -> OutboxEvent | None:
        name, columns = (change.schema, change.table), change.columns
        if self._layout is None:
            return None
        alike = self._layout.name == NATIVE.name and {column.name for column in columns} == _OWN
        if not self._relations.hold(name, self._xid, alike=alike):
            return None
        description: list[str | int] = [column.name for column in columns]
        if self._typed:
            description += [column.typeoid for column in columns]
        table = self._tables.get(name)
        if table is None or table.description != description:
            table = self._tables[name] = self._described(description, change, self._layout)
        values: list[str | int | None] = [column.value for column in columns]
        for place in table.binary:
            values[place] = None if values[place] is None else f"\\x{values[place]}"
        transaction = self._xid if table.tx is None else written_by(values[table.tx], self._xid)
        return None if transaction is None else table.reader.event(values, self._committed_at, transaction)

    def _described(self, description: Sequence[str | int], change: _Insert, layout: Layout) -> _Table:
        if self._typed and not all(column.typeoid for column in change.columns):
            raise UndecodableChange(
                f"this wal2json does not send the column types of {change.schema}.{change.table}, "
                "and bytea looks like text without them",
                remedy="install wal2json 2.5 or later, or use RELAY_PLUGIN=pgoutput",
            )
        reader = layout.reader([self._relations.column(column.name, column.typeoid) for column in change.columns])
        binary = [place for place, column in enumerate(change.columns) if column.typeoid == BYTEA]
        tx = next((place for place, column in enumerate(change.columns) if column.name == TX), None)
        ours = tx is not None and (layout.name == NATIVE.name or change.columns[tx].typeoid == XID8)
        return _Table(description, reader, binary, tx if ours else None)

    def _message(self, message: _Message) -> OutboxEvent | Fence | None:
        if not message.transactional:
            return None
        content = message.content.encode(errors="surrogateescape")
        return self._messages.read(message.prefix, content, self._committed_at, self._xid)


def _change(payload: bytes | memoryview) -> Any:  # noqa: ANN401 - one of many types
    """Parse one payload of any kind."""
    with suppress(ValueError, RecursionError):
        return _CHANGE.decode(payload)
    try:
        # wal2json writes the content of a message unchanged, which may be any bytes.
        change = _EXACT.decode(bytes(payload).decode(errors="surrogateescape"))
        if change["action"] == "M":
            return _Message(change["transactional"], change["prefix"], change["content"])
        columns = [
            _Value(column["name"], _text(column["value"]), int(column.get("typeoid", 0)))
            for column in change["columns"]
        ]
        return _Insert(change["schema"], change["table"], columns)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unknown(payload) from error


def _text(value: object) -> str | bool | None:
    match value:
        case None | str() | bool():
            return value
    raise TypeError("the value of a column is neither a scalar nor NULL")


def _boundary(commit: _Commit) -> Boundary[Lsn]:
    try:
        high, _, low = commit.nextlsn.partition("/")
        end = Lsn(int(high, 16) << 32 | int(low, 16))
        return Boundary(end, datetime.fromisoformat(commit.timestamp).timestamp())
    except ValueError as error:
        raise _unknown(commit) from error


def _unknown(change: object) -> UndecodableChange:
    shown = bytes(change[:100]) if isinstance(change, bytes | memoryview) else change
    return UndecodableChange(
        f"the relay does not know this output of wal2json: {shown!r}",
        remedy="use wal2json 2.3 or later: https://github.com/eulerto/wal2json",
    )
