"""The statements of pollers that share a table. Pure: they are put together from sql/queries and names.

A row is known by its key: `seq` of the relay's own table, whose ids an application may give twice; in any other table
the id, which its owner keeps unique. Where the table has a column `tx`, a poll reads its index from where everything
is published. Without one there is no such place, and each poll compares the whole table with its marks.
"""

from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from outboxkit import sql
from relay.core.errors import SourceRefused
from relay.sources.layout import NATIVE, Column, Layout
from relay.sources.polling.statements import TX, has_tx
from relay.sources.reader import Reader
from relay.storage.facts import TableFacts

_COUNTED = 10
"""So many times a batch are counted at most, to see how many rows others have locked."""
_EACH = SQL("OFFSET 0")
"""Makes Postgres look up the mark of each row by the index. A join would compare all rows with all marks where it takes
them for few, and it has no statistics of marks, which come and go (https://www.postgresql.org/docs/current/queries-limit.html)."""


@dataclass(frozen=True, slots=True)
class Statements:
    """What reads one table; rows have the columns of `reader`, then tx, which may be NULL, and their key."""

    probe: Composed
    """Fails where rows may not be locked."""
    plan: str
    """The query that prepares a transaction for `lock`."""
    lock: Composed
    mark_all: Composed
    adopt: Composed
    wait: Composed
    """Locks the table against being rewritten, before a snapshot is taken."""
    unmarked: Composed
    remove_gone: Composed
    reader: Reader
    names: tuple[str, ...]
    """The columns of `reader`."""
    aggregate: tuple[int, int]
    """The places of the aggregate's type and id among them."""
    by_tx: bool
    """Whether the table has a column `tx`."""


def key_of(layout: Layout) -> str:
    """Return the column that tells the rows of the table apart."""
    return layout.columns["seq" if layout.name == NATIVE.name else "id"]


def require_key(layout: Layout, facts: TableFacts) -> None:
    """Raise SourceRefused if two rows of the table may have the same key: they would count as one."""
    key = key_of(layout)
    if layout.name == NATIVE.name or key in facts.unique:
        return
    raise SourceRefused(
        f"no unique index of {layout.name} has {key!r}: with RELAY_POLL_STRATEGY=skip_locked, rows with the same value "
        "would count as one",
        remedy=_snapshot(facts)
        if facts.partitioned  # its unique indexes have the columns of the partition key, and none is made CONCURRENTLY
        else SQL("CREATE UNIQUE INDEX CONCURRENTLY ON {} ({})")
        .format(Identifier(layout.schema, layout.table), Identifier(key))
        .as_string(None),
    )


def _snapshot(facts: TableFacts) -> str:
    other = "set RELAY_POLL_STRATEGY=snapshot, which needs no such index"
    return other if has_tx(facts) else f"{other}, then run `relay setup --add-tx-column`"


def statements(layout: Layout, facts: TableFacts, *, batch: int) -> Statements:
    """Return the statements for the table of `layout`."""
    types = {column.name: column for column in facts.columns}
    names = tuple(name for name in dict.fromkeys(layout.columns.values()) if name in types)
    by_tx = has_tx(facts)
    table, key = Identifier(layout.schema, layout.table), Identifier(key_of(layout))
    unmarked = _query("skip_unmarked", key=key, each=_EACH if by_tx else SQL(""))
    late, new = SQL(sql.query("skip_late")), SQL(sql.query("skip_new"))
    ranges = [late, new] if by_tx else [SQL("TRUE")]
    columns = SQL(", ").join(Identifier("row", name) for name in names)
    tx = Identifier("row", TX) if by_tx else SQL("NULL::xid8")
    every = SQL(" UNION ALL ")
    return Statements(
        probe=_query("skip_probe", table=table),
        plan="skip_plan" if by_tx else "skip_plan_all",
        lock=_query(
            "skip_lock",
            ranges=every.join(
                _query("skip_range", columns=columns, tx=tx, key=key, table=table, range=each, unmarked=unmarked)
                for each in ranges
            ),
            counted=every.join(_query("skip_count", table=table, range=each, unmarked=unmarked) for each in ranges),
            batch=Literal(batch),
            most=Literal(_COUNTED * batch),
        ),
        mark_all=_query("skip_mark_all", key=key, table=table),
        adopt=_query("skip_adopt_marks", key=key, table=table),
        wait=_query("poll_lock", table=table),
        unmarked=_query("marks_unmarked", table=table, late=late, new=new, unmarked=unmarked),
        remove_gone=_query("marks_remove_gone", table=table, key=key),
        reader=layout.reader([Column(name, types[name].base) for name in names]),
        names=names,
        aggregate=(names.index(layout.columns["aggregate_type"]), names.index(layout.columns["aggregate_id"])),
        by_tx=by_tx,
    )


def _query(name: str, **parts: Composable) -> Composed:
    return SQL(sql.query(name)).format(**parts)
