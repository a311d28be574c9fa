"""The statements of polls and replays, for one outbox table. Pure: they are put together from sql/queries and names.

A row is read by `tx`, the transaction that wrote it, and ordered by its key: the column of the field `seq`, or, where
a table has none, `tx` and the id. Only an order by `seq` is the order of commits, and only in that order a round is
stored in part.
"""

from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from outboxkit import sql
from relay.core.errors import SourceRefused
from relay.core.replay import Selection
from relay.sources.layout import Column, Layout
from relay.sources.reader import Reader
from relay.storage.facts import TableFacts

TX = "tx"
"""The column with the 64-bit id of the transaction that wrote the row."""
_XID8 = "xid8"
_SELECTED = ("seq", "aggregate_type", "aggregate_id", "event_type")
"""The fields by which a replay selects rows."""
_LIKE = {"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"}
DEFAULT = "pg_current_xact_id()"


@dataclass(frozen=True, slots=True)
class Statements:
    """What reads one table; rows have the columns of `reader`, then tx, then their place in their transaction."""

    lock: Composed
    count: Composed
    rows: Composed
    keys: Composed
    fetch: Composed
    batch: Composed
    """The rows of keys, by where they lie; its last column is the number of the key, from 1."""
    moved: Composed
    reader: Reader
    ordered: bool
    """Whether the key is `seq`: then `rows` and `keys` take the last one that was read."""


def statements(layout: Layout, facts: TableFacts, *, batch: int, replayed: Selection | None = None) -> Statements:
    """Return the statements for the table of `layout`; raises SourceRefused if it cannot be polled by snapshot.

    With `replayed`, they read the rows of a range of the past that it selects, each with its place among all rows.
    """
    require_tx(layout, facts)
    types = {column.name: column for column in facts.columns}
    names = [name for name in dict.fromkeys(layout.columns.values()) if name in types]
    seq = layout.columns.get("seq")
    key = seq if seq in types else layout.columns["id"]
    table = _named(layout.schema, layout.table)
    reading = "poll_unseen" if replayed is None else "replay_unseen"
    unseen = _query(reading, columns=_list([*names, TX]), table=table)
    order = _named(key) if key == seq else SQL(", ").join([_named(TX), _named(key)])
    beyond: Composable = SQL("{} > %(beyond)s").format(_named(key)) if key == seq else SQL("TRUE")
    if replayed is not None:
        beyond = SQL("{} AND {}").format(beyond, selected(layout, replayed))
    about = {"key": _named(key), "order": order, "beyond": beyond}
    columns = [key, TX, *([layout.columns[of] for of in _SELECTED if of in layout.columns] if replayed else [])]
    keys = SQL("{}, tableoid AS relay_relation, ctid AS relay_at").format(_list(list(dict.fromkeys(columns))))
    batch_of = {
        "columns": _list([*names, TX], of="row"), "table": table, "key": _named(key),
        "type": SQL(types[key].type_name.replace("%", "%%")),
    }  # fmt: skip
    return Statements(
        lock=_query("poll_lock", table=Identifier(layout.schema, layout.table)),
        count=_query("poll_count", unseen=unseen),
        rows=_query("poll_rows", columns=_list([*names, TX]), unseen=unseen, **about),
        keys=_query("poll_keys", unseen=_query(reading, columns=keys, table=table), **about),
        fetch=_query("poll_fetch", limit=Literal(batch)),
        batch=_query("poll_batch", **batch_of),
        moved=_query("poll_moved", **batch_of),
        reader=layout.reader([Column(name, types[name].base) for name in names]),
        ordered=key == seq,
    )  # fmt: skip


def selected(layout: Layout, selection: Selection) -> Composable:
    """Return the condition that a row meets which `selection` takes."""
    column = {of: _named(name) for of, name in layout.columns.items()}
    conditions: list[Composable] = [SQL("TRUE")]
    for of, value in (("aggregate_type", selection.aggregate_type), ("aggregate_id", selection.aggregate_id)):
        if value is not None:
            conditions.append(SQL("{}::text = {}").format(column[of], _text(value)))
    if selection.event_type is not None:
        conditions.append(SQL("{}::text LIKE {}").format(column["event_type"], _text(like(selection.event_type))))
    if selection.seqs is not None:
        conditions.append(SQL("{} <@ {}::int8multirange").format(column["seq"], _text(selection.seqs)))
    return SQL(" AND ").join(conditions)


def like(pattern: str) -> str:
    """Return the LIKE pattern that means the same as `pattern` with * and ?."""
    return "".join(_LIKE.get(each, each) for each in pattern)


def counting(layout: Layout, facts: TableFacts, selection: Selection) -> Composed:
    """Return the statement that counts the rows of a range that `selection` takes, `beyond` a number or all."""
    created = next((column.name for column in facts.columns if column.name == layout.columns.get("created_at")), None)
    at = SQL("NULL::timestamptz") if created is None else _named(created)
    columns = [layout.columns[of] for of in _SELECTED if of in layout.columns]
    listed = SQL("{}, {} AS relay_created_at").format(_list(list(dict.fromkeys([TX, *columns]))), at)
    table = _named(layout.schema, layout.table)
    chosen = selected(layout, selection)
    if (seq := layout.columns.get("seq")) is not None:
        beyond = SQL("(%(beyond)s::bigint IS NULL OR {} > %(beyond)s::bigint)").format(_named(seq))
        chosen = SQL("{} AND {}").format(chosen, beyond)
    return _query("replay_count", unseen=_query("replay_unseen", columns=listed, table=table), chosen=chosen)


def finding(layout: Layout) -> Composed:
    """Return the statement that finds the transaction of an event by its id."""
    table = _named(layout.schema, layout.table)
    return _query("replay_event", table=table, id=_named(layout.columns["id"]))


def has_tx(facts: TableFacts) -> bool:
    """Return whether a column says which transaction wrote a row."""
    return any(column.name == TX and column.type_name == _XID8 for column in facts.columns)


def require_tx(layout: Layout, facts: TableFacts) -> None:
    """Raise SourceRefused, with both ways out, if no column says which transaction wrote a row.

    Without its default, rows would be written with NULL there, and never polled.
    """
    found = next((column for column in facts.columns if column.name == TX), None)
    if found is None or (found.type_name, found.default) != (_XID8, DEFAULT):
        has = "no column tx"
        if found is not None:
            has = f"a column tx of type {found.type_name}, and not xid8"
            if found.type_name == _XID8:
                has = f"a column tx without the default {DEFAULT}"
        raise SourceRefused(
            f"{layout.name} has {has}: a poll cannot tell which rows are new",
            remedy="run `relay setup --add-tx-column`, which says first what it changes; or set "
            "RELAY_POLL_STRATEGY=skip_locked, which needs no such column and keeps no order",
        )


def _query(name: str, **parts: Composable) -> Composed:
    return SQL(sql.query(name)).format(**parts)


def _list(names: list[str], *, of: str | None = None) -> Composed:
    return SQL(", ").join(_named(name) if of is None else _named(of, name) for name in names)


def _text(value: str) -> Literal:
    return Literal(value.replace("%", "%%"))


def _named(*names: str) -> Identifier:
    """Return a name in a statement that has parameters: there a % in it would be taken for one."""
    return Identifier(*(name.replace("%", "%%") for name in names))
