"""Adds the column `tx` to an outbox table: which transaction wrote a row, so that it can be polled by snapshot.

The column comes first, and its default after that: in one step every existing row would get the id of the ALTER's own
transaction, and the whole table would be published again. A row from before has NULL, and is not polled. The index is
made concurrently, so that writers go on; for a partitioned table that is done partition by partition
(https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY).

Each step is found to be done or not, so a run that was ended goes on where it stopped. An index that it left
unfinished is dropped, and made again.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from outboxkit import sql
from outboxkit.errors import Problem
from relay.core.errors import SourceRefused
from relay.operating import outbox
from relay.settings import RelaySettings
from relay.sources.layout import Layout
from relay.sources.polling.statements import DEFAULT, TX
from relay.storage.facts import ColumnFacts, TableFacts

DUPLICATES = "a relay that streams meanwhile publishes again, under the same ids, what it has not stored yet"
"""What its stored snapshot says would not cover the rows without tx, so it opens its stream anew, from its position."""
_TRIES = 5
_XID8 = 5069
"""The type's oid: https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/catalog/pg_type.dat."""


@dataclass(frozen=True, slots=True)
class Step:
    """Statements, in a transaction of their own."""

    statements: Sequence[Composed]
    locks: bool = True
    """Whether it locks the table against everybody, for a moment: then it waits for two seconds at most."""
    forgets: bool = False
    """Whether a relay that streams meanwhile reads its stored position again."""

    def __str__(self) -> str:
        texts = [_without_comments(each.as_string(None)) for each in self.statements]
        return (
            f"{texts[0]};" if len(texts) == 1 else "".join(f"{text}; " for text in ["BEGIN", *texts, "COMMIT"]).rstrip()
        )


def steps(connection: psycopg.Connection[Any], settings: RelaySettings) -> list[Step]:
    """Return what is still to be done; nothing if the table can be polled. Raises SourceRefused for no such table."""
    found = outbox.facts(connection, settings)
    layout = outbox.layout(found, settings)
    if layout is None or found.kind not in {"r", "p"}:
        raise SourceRefused(
            f"{settings.table or 'an outbox of messages'} is no table",
            remedy="name the table that the application inserts into: RELAY_OUTBOX_TABLE",
        )
    table = Identifier(layout.schema, layout.table)
    asked = {"schema": layout.schema, "table": layout.table, "column": TX}
    row = connection.execute(sql.query("tx_column_find"), asked).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    type_name, has_default, indexed = row
    if type_name not in {None, "xid8"}:
        raise SourceRefused(
            f"{layout.name} has a column {TX!r} of type {type_name}",
            remedy="rename that column, then run the command again",
        )
    todo: list[Step] = []
    if type_name is None:
        todo.append(Step([_of("tx_column_add", table=table)]))
    if not has_default:
        forget = _of("tx_column_forget", name=Literal(layout.name))
        todo.append(Step([_of("tx_column_default", table=table), forget], forgets=True))
    if not indexed:
        unfinished = connection.execute(sql.query("tx_index_invalid"), asked).fetchall()
        todo += [Step([_of("tx_index_drop", index=Identifier(*name))], locks=False) for name in unfinished]
        todo += [_concurrently(layout.schema, layout.table)] if found.kind == "r" else _tree(connection, layout)
    return todo


def added(found: TableFacts) -> TableFacts:
    """Return what the table will be when the steps are done."""
    column = ColumnFacts(TX, _XID8, _XID8, "xid8", default=DEFAULT)
    return replace(found, columns=[*(each for each in found.columns if each.name != TX), column])


def run(connection: psycopg.Connection[Any], todo: Sequence[Step]) -> Iterator[str]:
    """Say what the steps are, then run them; raises a Problem if the table stays in use."""
    for step in todo:
        yield f"tx column: will run {step}"
    if any(step.forgets for step in todo):
        yield f"tx column: {DUPLICATES}"
    for number, step in enumerate(todo, 1):
        _run(connection, step)
        yield f"tx column: step {number} of {len(todo)} is done"
    if not todo:
        yield "tx column: up to date"


def _concurrently(schema: str, table: str) -> Step:
    index = Identifier(_index(table))
    return Step([_of("tx_index_concurrently", index=index, table=Identifier(schema, table))], locks=False)


def _tree(connection: psycopg.Connection[Any], layout: Layout) -> list[Step]:
    """Return the steps for a partitioned table: an index of it, then of each partition, which becomes a part of it."""
    todo = []
    tree = connection.execute(sql.query("tx_index_tree"), {"schema": layout.schema, "table": layout.table}).fetchall()
    for schema, table, parent_schema, parent, is_leaf in tree:
        if is_leaf and parent is not None:
            todo.append(_concurrently(schema, table))
        else:
            index = Identifier(_index(table))
            todo.append(Step([_of("tx_index_parent", index=index, table=Identifier(schema, table))]))
        if parent is not None:
            of, part = Identifier(parent_schema, _index(parent)), Identifier(schema, _index(table))
            todo.append(Step([_of("tx_index_attach", parent=of, index=part)]))
    return todo


def _index(table: str) -> str:
    """Return the name of a table's index; one that is too long for Postgres is shortened, and stays different."""
    name = f"{table}_{TX}"
    if len(name.encode()) <= _LONGEST:
        return name
    digest = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}_{TX}"
    return name.encode()[: _LONGEST - len(digest)].decode(errors="ignore") + digest


_LONGEST = 63
"""Bytes of a name: https://www.postgresql.org/docs/current/limits.html."""


def _of(query: str, **names: Composable) -> Composed:
    return SQL(sql.query(query)).format(**names)


def _without_comments(statement: str) -> str:
    return " ".join(line for line in statement.splitlines() if not line.startswith("--"))


def _run(connection: psycopg.Connection[Any], step: Step) -> None:
    if not step.locks:
        connection.execute(step.statements[0])
        return
    connection.execute(sql.query("lock_briefly"))
    try:
        for _ in range(_TRIES):
            try:
                with connection.transaction():
                    for statement in step.statements:
                        connection.execute(statement)
            except psycopg.errors.LockNotAvailable:
                continue
            return
    finally:
        if not connection.closed:
            connection.execute(sql.query("lock_patiently"))
    raise Problem(
        "the table stays in use: a transaction that is open holds a lock on it",
        remedy="find it in pg_stat_activity, wait for its end, and run the command again: it goes on where it stopped",
    )
