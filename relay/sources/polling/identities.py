"""The statements of a poll that reads only which events there are, and not what they say. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from outboxkit import sql
from relay.sources.layout import Layout
from relay.sources.polling.statements import TX, require_tx
from relay.storage.facts import TableFacts

_FIELDS = ("id", "seq", "aggregate_type", "aggregate_id")


@dataclass(frozen=True, slots=True)
class Identities:
    """What reads one table: rows have the columns of `fields`, and tx as the last one."""

    lock: Composed
    keep: Composed
    fetch: Composed
    fields: Sequence[str]
    conversions: Sequence[Callable[[str], Any]]


def identities(layout: Layout, facts: TableFacts, *, batch: int) -> Identities:
    """Return the statements for the table of `layout`; raises SourceRefused if it cannot be polled by snapshot."""
    require_tx(layout, facts)
    types = {column.name: column for column in facts.columns}
    fields = [of for of in _FIELDS if layout.columns.get(of) in types]
    names = [layout.columns[of] for of in fields]
    order = [layout.columns["seq"]] if "seq" in fields else [TX, layout.columns["id"]]
    unseen = _query(
        "poll_unseen",
        columns=_list(list(dict.fromkeys([*names, TX]))),
        table=_named(layout.schema, layout.table),
    )
    return Identities(
        lock=_query("poll_lock", table=Identifier(layout.schema, layout.table)),
        keep=_query("shadow_rows", columns=_list([*names, TX]), unseen=unseen, order=_list(order)),
        fetch=_query("shadow_fetch", limit=Literal(batch)),
        fields=fields,
        conversions=[layout.conversion(of, types[name].base) for of, name in zip(fields, names, strict=True)],
    )


def _query(name: str, **parts: Composable) -> Composed:
    return SQL(sql.query(name)).format(**parts)


def _list(names: list[str]) -> Composed:
    return SQL(", ").join(map(_named, names))


def _named(*names: str) -> Identifier:
    """Return a name in a statement that has parameters: there a % in it would be taken for one."""
    return Identifier(*(name.replace("%", "%%") for name in names))
