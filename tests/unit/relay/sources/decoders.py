"""Decoders as a stream opens them for our own table or another, and what the catalog says of those tables."""

from collections.abc import Sequence
from struct import pack

from relay.sources.layout import NATIVE, Layout
from relay.sources.wal.decoders.messages import Messages
from relay.sources.wal.decoders.pgoutput import PgoutputDecoder
from relay.sources.wal.decoders.relations import Relations
from relay.sources.wal.decoders.wal2json import Wal2JsonDecoder
from relay.storage.facts import ColumnFacts, TableFacts
from tests.unit.relay.sources.wal2json_objects import TABLE, begin, commit


def columns(of: Layout) -> Sequence[ColumnFacts]:
    """Return the columns of a table with that layout, all of them texts, and one that no event needs."""
    return [ColumnFacts(name, 25, 25, "text") for name in [*of.columns.values(), "tx"]]


def facts(of: Layout) -> TableFacts:
    """Return what the catalog says of a table, whose partition is `TABLE` if it has any."""
    kind, leaf = ("p", TABLE) if of.partitioned else ("r", of.table)
    return TableFacts(kind, columns(of), leaves=[(of.schema, leaf)], others=["other"], snapshot="1000:1000:")


def of_wal2json(
    of: Layout | None = NATIVE,
    prefix: str | None = None,
    *,
    kind: type[Wal2JsonDecoder] = Wal2JsonDecoder,
) -> Wal2JsonDecoder:
    """Return a decoder of wal2json's stream, behind a BEGIN and a COMMIT of the transaction that wrote `ROW`."""
    made = kind(of, Messages(prefix), Relations.of(of or NATIVE, facts(of or NATIVE)))
    list(made.decode([begin(), commit()]))
    return made


def of_pgoutput(of: Layout | None = NATIVE, prefix: str | None = None) -> PgoutputDecoder:
    """Return a decoder of pgoutput's stream, behind a BEGIN and a COMMIT of the transaction that wrote `ROW`."""
    made = PgoutputDecoder(of, Messages(prefix), Relations.of(of or NATIVE, facts(of or NATIVE)))
    list(made.decode([pack(">cQqI", b"B", 0x10, 0, 741), pack(">cBQQq", b"C", 0, 0x10, 0x20, 0)]))
    return made
