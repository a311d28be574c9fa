"""Whether the outbox can be streamed. Pure: it judges facts that others read.

`relay setup`, `relay check` and `relay run` judge by these functions, before anything is made or read, and again each
time that a stream is opened.
"""

from collections.abc import Iterator, Mapping, Sequence

from relay.core.errors import RepairNeeded, SourceRefused
from relay.sources import types
from relay.sources.layout import NATIVE, Layout
from relay.sources.wal.decoders import pgoutput, wal2json
from relay.storage.facts import ColumnFacts, PublicationFacts, TableFacts

_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
_PGOUTPUT = "use RELAY_PLUGIN=pgoutput, with a slot of its own (RELAY_SLOT)"
_VIRTUAL = "v"


class Unreadable(RepairNeeded):
    """The role may not read the table, or not all of its rows."""


def examine(facts: TableFacts, layout: Layout | None, *, plugin: str, publication: str) -> None:
    """Raise SourceRefused or UndecodableChange if `plugin` would not deliver every event of the outbox as it is.

    Without `layout`, the outbox is logical messages.
    """
    if layout is not None:
        check(facts, layout, plugin=plugin)
    if plugin == pgoutput.PLUGIN:
        check_publication(facts, layout, publication)


def check(facts: TableFacts, layout: Layout, *, plugin: str) -> None:
    """Raise SourceRefused or UndecodableChange if the table's rows would be read wrongly, or not at all."""
    if facts.kind is None:
        raise missing(layout.name)
    _have_rows_in_the_wal(facts, layout.name)
    layout.require([column.name for column in facts.columns])
    _are_sent(facts, layout, plugin)
    _are_whole(facts, layout, plugin)
    if plugin == wal2json.PLUGIN:
        _is_shown_by_wal2json(facts, layout)


def check_rows(facts: TableFacts, layout: Layout) -> None:
    """Raise SourceRefused or UndecodableChange if rows are not what they stand for, however they are read.

    A poll reads the same rows as a stream. Those that are not in the WAL are also gone after a crash of the server.
    """
    if facts.kind is None:
        raise missing(layout.name)
    if facts.kind in _KINDS:
        raise SourceRefused(
            f"{layout.name} is {_KINDS[facts.kind]}: a poll locks the table that the application inserts into",
            remedy="name that table: RELAY_OUTBOX_TABLE",
        )
    _have_rows_in_the_wal(facts, layout.name)
    layout.require([column.name for column in facts.columns])
    _are_content(facts, layout)
    if not facts.readable:
        raise Unreadable(
            f"role {facts.role!r} may not read {layout.name}, which a poll does",
            remedy=f'GRANT SELECT ON {layout.name} TO "{facts.role}"',
        )
    if facts.hidden:
        raise Unreadable(
            f"row-level security hides rows of {layout.name} from role {facts.role!r}",
            remedy=f'ALTER ROLE "{facts.role}" BYPASSRLS',
        )


def check_publication(facts: TableFacts, layout: Layout | None, name: str) -> None:
    """Raise SourceRefused if the publication `name` does not publish every event of the outbox."""
    found = facts.publication
    if found is None:
        raise SourceRefused(f"publication {name!r} does not exist", remedy="run `relay setup`")
    lacks = [] if layout is None else list(_lacks(found, facts, layout, name))
    if lacks:
        raise SourceRefused(
            f"publication {name!r} {' and '.join(lack for lack, _ in lacks)}",
            remedy=f"if nobody else reads it: {'; '.join(statement for _, statement in lacks)}; otherwise set another "
            "RELAY_SLOT and run `relay setup`. The stream of an existing slot has no rows from before that",
        )


def missing(table: str) -> SourceRefused:
    """Return the error for a missing `table` (`schema.table`); `relay setup` creates only its own."""
    return SourceRefused(
        f"there is no table {table}",
        remedy="run `relay setup`, or name the outbox with RELAY_OUTBOX_TABLE"
        if table == NATIVE.name
        else "its owner has to create it, with the application's own schema; or correct RELAY_OUTBOX_TABLE",
    )


def _have_rows_in_the_wal(facts: TableFacts, table: str) -> None:
    """Raise SourceRefused for rows that Postgres does not write to the WAL, or not under the name of the table."""
    if facts.kind in _KINDS:
        raise SourceRefused(
            f"{table} is {_KINDS[facts.kind]}: no row of it is in the WAL",
            remedy="name the table that the application inserts into: RELAY_OUTBOX_TABLE",
        )
    if facts.temporary:
        raise SourceRefused(
            f"{_listed(facts.temporary)}: the rows of temporary tables are not in the WAL",
            remedy="make the outbox a table without TEMPORARY",
        )
    if facts.unlogged:
        raise SourceRefused(
            f"{_listed(facts.unlogged)}: the rows of unlogged tables are not in the WAL, and a crash removes them",
            remedy="; ".join(f"ALTER TABLE {_quoted(name)} SET LOGGED" for name in facts.unlogged),
        )
    if facts.foreign_partitions:
        raise SourceRefused(
            f"{_listed(facts.foreign_partitions)}: the rows of a partition that is a foreign table are not in the WAL",
            remedy="; ".join(
                f"ALTER TABLE {_quoted(table)} DETACH PARTITION {_quoted(name)}" for name in facts.foreign_partitions
            ),
        )
    if facts.children:
        raise SourceRefused(
            f"{_listed(facts.children)}: the rows of tables that inherit from {table} are in the WAL under their names",
            remedy="make it a partitioned table; or, for tables whose rows are no events, "
            + "; ".join(f"ALTER TABLE {name} NO INHERIT {_quoted(table)}" for name in facts.children),
        )


def _are_sent(facts: TableFacts, layout: Layout, plugin: str) -> None:
    """Raise SourceRefused for columns of the event that `plugin` does not send."""
    published = facts.publication is not None and facts.publication.generated
    generated = [column for column in _used(facts, layout).values() if column.generated]
    virtual = [column for column in generated if column.generated == _VIRTUAL]
    unsent = generated if plugin == pgoutput.PLUGIN and not published else virtual
    if unsent:
        raise SourceRefused(
            f"{plugin} does not send the generated columns of {layout.name}: {_named(unsent)}",
            remedy="write them as ordinary columns, or name others with RELAY_OUTBOX_COLUMNS"
            + ("" if virtual else "; or use RELAY_PLUGIN=wal2json, with a slot of its own (RELAY_SLOT)"),
        )


def _are_whole(facts: TableFacts, layout: Layout, plugin: str) -> None:
    """Raise SourceRefused for columns of the event whose values `plugin` does not send as they are."""
    _are_content(facts, layout)
    used = _used(facts, layout)
    numbers = [column for of, column in used.items() if of != "created_at" and column.type in types.UNSHOWN_BY_WAL2JSON]
    if numbers and plugin == wal2json.PLUGIN:
        raise SourceRefused(
            f"wal2json writes NaN and infinity as NULL in {_named(numbers)} of {layout.name}",
            remedy=f"change the type (bigint or text keep every value), or {_PGOUTPUT}",
        )


def _are_content(facts: TableFacts, layout: Layout) -> None:
    """Raise SourceRefused for columns of the event whose values are not what they stand for."""
    used = _used(facts, layout)
    objects = [column for of, column in used.items() if of in {"payload", "headers"} and column.base == types.OID]
    if objects:
        raise SourceRefused(
            f"{_named(objects)} of {layout.name} has the number of a large object, not its content",
            remedy="store the content in the row, as text, jsonb or bytea (in Hibernate, without @Lob)",
        )


def _used(facts: TableFacts, layout: Layout) -> Mapping[str, ColumnFacts]:
    """Return the columns of an event, by its fields."""
    columns = {column.name: column for column in facts.columns}
    return {of: columns[name] for of, name in layout.columns.items() if name in columns}


def _is_shown_by_wal2json(facts: TableFacts, layout: Layout) -> None:
    elsewhere = [f"{schema}.{name}" for schema, name in facts.leaves if facts.partitioned and schema != layout.schema]
    if elsewhere:
        raise SourceRefused(
            f"wal2json does not show that these are partitions of {layout.name}: {', '.join(elsewhere)}",
            remedy="; ".join(f'ALTER TABLE {_quoted(name)} SET SCHEMA "{layout.schema}"' for name in elsewhere)
            + f"; or {_PGOUTPUT}",
        )


def _lacks(found: PublicationFacts, facts: TableFacts, layout: Layout, name: str) -> Iterator[tuple[str, str]]:
    """Yield what the publication lacks, each with the statement that adds it."""
    table, alter = _quoted(layout.name), f'ALTER PUBLICATION "{name}"'
    if "insert" not in found.actions:
        yield (
            "does not publish inserts",
            f"{alter} SET (publish = '{', '.join(['insert', *found.actions])}')",
        )
    if not found.has_table:
        yield f"does not contain {layout.name}", f"{alter} ADD TABLE {table}"
    if facts.partitioned and not found.through_root:
        yield "publishes partitions under their own names", f"{alter} SET (publish_via_partition_root = true)"
    needed = {
        column.name for column in facts.columns if column.name in layout.columns.values() and not column.generated
    }
    hidden = [] if found.columns is None else sorted(needed.difference(found.columns))
    hides = [f"columns {', '.join(hidden)} of {layout.name}"] if hidden else []
    hides += [f"rows of {layout.name}, by the filter {found.row_filter}"] if found.row_filter else []
    if hides:
        yield f"hides {' and '.join(hides)}", f"{alter} DROP TABLE {table}; {alter} ADD TABLE {table}"


def _named(columns: Sequence[ColumnFacts]) -> str:
    return ", ".join(f"{column.name!r} ({column.type_name})" for column in columns)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _quoted(name: str) -> str:
    """Return `schema.table` as it is written in SQL."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))
