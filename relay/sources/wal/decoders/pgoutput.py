"""Decoder of pgoutput, Postgres' own output plugin: binary messages of protocol version 1. Pure.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html. Integers are big-endian, times are
microseconds since 2000-01-01 UTC, values are texts as their types' output functions write them. Transactions arrive
whole and in commit order; COMMIT carries the end LSN. A relation is described before its first row, and again after
each change, as it was when the row was written.

The stream has the tables of a publication. Create the publication before the slot: pgoutput looks for it in the catalog
as of each change, and fails, at every attempt, at a change that is older than the publication. Since Postgres 15, the
stream omits transactions without a published row or a message.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is an exception, and its own name says nothing
from typing import NamedTuple

from relay.core.errors import UndecodableChange
from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn
from relay.sources.layout import NATIVE, Layout
from relay.sources.reader import Reader
from relay.sources.types import XID8
from relay.sources.wal.decoders.messages import Messages
from relay.sources.wal.decoders.relations import TX, Relations, written_by

PLUGIN = "pgoutput"

_BEGIN = Struct(">cQqI")
_COMMIT = Struct(">cBQQq")
_RELATION = Struct(">cI")
_COLUMNS = Struct(">cH")
_TYPE = Struct(">Ii")
_INSERT = Struct(">cIcH")
_MESSAGE = Struct(">cBQ")
_LENGTH = Struct(">I")
_NULL, _TEXT = b"nt"
_TRANSACTIONAL = 1
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_MICROSECONDS = int(_EPOCH.timestamp()) * 1_000_000


class Commit(NamedTuple):
    """The end of a transaction."""

    lsn: Lsn
    """Where its commit record begins."""
    end: Lsn
    at: float
    """When it was, in seconds since 1970."""


def committed(payload: bytes) -> Commit | None:
    """Return the COMMIT that `payload` is; None if it is something else."""
    if payload[:1] != b"C":
        return None
    _, _, lsn, end, at = _COMMIT.unpack(payload)
    return Commit(Lsn(lsn), Lsn(end), (_EPOCH_MICROSECONDS + at) / 1_000_000)


def options(publication: str) -> Mapping[str, str]:
    """Return the options of a stream of `publication` and of logical messages (since Postgres 14)."""
    quoted = publication.replace('"', '""')
    return {"proto_version": "1", "publication_names": f'"{quoted}"', "messages": "true"}


class _Relation(NamedTuple):
    columns: int
    reader: Reader
    tx: int | None
    """The place of the column that names the row's transaction; None if the table has none that counts."""


class PgoutputDecoder:
    """Turns the payloads of one stream, in order, into events, boundaries and fences."""

    def __init__(self, layout: Layout | None, messages: Messages, relations: Relations) -> None:
        self.in_transaction = False
        self._layout = layout
        self._messages = messages
        self._known = relations
        self._committed = self._xid = self._commits_at = 0
        self._tx = ""
        """What rows of our own table have as `tx` until transaction ids pass 32 bits."""
        self._relations: dict[int, _Relation | None] = {}

    def decode(self, payloads: Sequence[bytes | memoryview]) -> Iterator[OutboxEvent | Boundary[Lsn] | Fence | None]:
        """Yield one result for each of `payloads`; see `Decoder`."""
        return map(self._change, map(bytes, payloads))

    def commits_at(self) -> Lsn:
        """Return where the commit record of the transaction begins that is being decoded, or was last."""
        return Lsn(self._commits_at)

    def _change(self, payload: bytes) -> OutboxEvent | Boundary[Lsn] | Fence | None:
        try:
            match payload[:1]:
                case b"I":
                    return self._insert(payload)
                case b"B":
                    self.in_transaction = True
                    _, self._commits_at, self._committed, self._xid = _BEGIN.unpack(payload)
                    self._tx = str(self._xid)
                    return None
                case b"C":
                    self.in_transaction = False
                    _, _, _, end, committed = _COMMIT.unpack(payload)
                    return Boundary(Lsn(end), (_EPOCH_MICROSECONDS + committed) / 1_000_000)
                case b"R":
                    self._relation(payload)
                    return None
                case b"M":
                    return self._message(payload)
                case b"O" | b"Y" | b"T" | b"U" | b"D":  # origin, type, truncate, update, delete
                    return None
        except (StructError, LookupError, ValueError, OverflowError) as error:
            raise _unknown(payload) from error
        raise _unknown(payload)

    def _committed_at(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._committed)

    def _insert(self, payload: bytes) -> OutboxEvent | None:
        _, oid, _, count = _INSERT.unpack_from(payload)
        relation = self._relations[oid]
        if relation is None:
            return None
        if count != relation.columns:
            raise ValueError("the number of columns of a row is not its relation's")
        values = _values(payload, _INSERT.size, count)
        transaction: int | None = self._xid
        if relation.tx is not None and (tx := values[relation.tx]) != self._tx:
            transaction = written_by(tx, self._xid)
        return None if transaction is None else relation.reader.event(values, self._committed_at, transaction)

    def _relation(self, payload: bytes) -> None:
        _, oid = _RELATION.unpack_from(payload)
        schema, at = _name(payload, _RELATION.size)
        table, at = _name(payload, at)
        _, count = _COLUMNS.unpack_from(payload, at)
        at += _COLUMNS.size
        columns = []
        for _ in range(count):
            name, at = _name(payload, at + 1)
            type_oid, _ = _TYPE.unpack_from(payload, at)
            at += _TYPE.size
            columns.append(self._known.column(name, type_oid))
        if self._layout is None or (schema, table) != self._known.table:  # the publication names the root of partitions
            self._relations[oid] = None
            return
        tx = next((place for place, column in enumerate(columns) if column.name == TX), None)
        ours = tx is not None and (self._layout.name == NATIVE.name or columns[tx].oid == XID8)
        self._relations[oid] = _Relation(count, self._layout.reader(columns), tx if ours else None)

    def _message(self, payload: bytes) -> OutboxEvent | Fence | None:
        _, flags, _ = _MESSAGE.unpack_from(payload)
        prefix, at = _name(payload, _MESSAGE.size)
        (length,) = _LENGTH.unpack_from(payload, at)
        content = payload[at + _LENGTH.size :]
        if len(content) != length:
            raise ValueError("the message is incomplete")
        if not flags & _TRANSACTIONAL:
            return None
        return self._messages.read(prefix, content, self._committed_at, self._xid)


def _values(payload: bytes, at: int, count: int) -> list[str | None]:
    values: list[str | None] = []
    for _ in range(count):
        kind = payload[at]
        if kind == _TEXT:
            start = at + 5
            at = start + int.from_bytes(payload[at + 1 : start])
            values.append(payload[start:at].decode())
        elif kind == _NULL:
            at += 1
            values.append(None)
        else:
            raise ValueError("a value is neither text nor NULL")
    if at != len(payload):
        raise ValueError("the length of the row is wrong")
    return values


def _name(payload: bytes, at: int) -> tuple[str, int]:
    """Read a text that ends with a zero byte; returns it and the place behind it."""
    end = payload.index(b"\0", at)
    return payload[at:end].decode(), end + 1


def _unknown(payload: bytes) -> UndecodableChange:
    return UndecodableChange(
        f"the relay does not know this output of pgoutput: {payload[:100]!r}",
        remedy="use a slot without two_phase, on Postgres 14 or later",
    )
