"""Whether the outbox table is one that can be streamed. Pure: it judges facts and asks nobody."""

from relay.core.errors import SourceRefused
from relay.sources.layout import NATIVE, Column, Layout
from relay.sources.wal.decoders import wal2json
from relay.storage.facts import TableFacts


def check(facts: TableFacts | None, layout: Layout, *, plugin: str) -> None:
    """Raise SourceRefused or UndecodableChange for what would keep the table's rows from being read as they are."""
    table = f"{layout.schema}.{layout.table}"
    if facts is None:
        raise missing(table)
    layout.reader([Column(name) for name in facts.columns])
    if plugin == wal2json.PLUGIN and facts.other_names:
        raise SourceRefused(
            f"wal2json would not tell that these are partitions of {table}: {', '.join(facts.other_names)}",
            remedy=f"rename them to {layout.table}_..., in the table's schema, or use RELAY_PLUGIN=pgoutput",
        )
    if plugin == wal2json.PLUGIN and facts.other_tables:
        raise SourceRefused(
            f"wal2json would take these for partitions of {table}: {', '.join(facts.other_tables)}",
            remedy="rename them or move them to another schema, or use RELAY_PLUGIN=pgoutput",
        )


def missing(table: str) -> SourceRefused:
    """Return what is wrong where there is no `table` (`schema.table`): `relay setup` makes its own, and no other."""
    ours = table == f"{NATIVE.schema}.{NATIVE.table}"
    return SourceRefused(
        f"there is no table {table}",
        remedy="run `relay setup`, or name the outbox with RELAY_OUTBOX_TABLE"
        if ours
        else "its owner has to create it, with the application's own schema; or correct RELAY_OUTBOX_TABLE",
    )
