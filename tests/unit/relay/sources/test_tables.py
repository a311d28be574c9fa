"""Which outboxes can be streamed, and what is said of the others."""

from dataclasses import replace

import pytest

from relay.core.errors import SourceRefused, UndecodableChange
from relay.sources import types
from relay.sources.layout import NATIVE, Layout, layout
from relay.sources.tables import check, check_publication, examine
from relay.storage.facts import ColumnFacts, PublicationFacts, TableFacts
from tests.unit.relay.sources.decoders import columns

PLUGINS = ("wal2json", "pgoutput")
FACTS = TableFacts("p", columns(NATIVE), leaves=[("outbox", "event_1"), ("outbox", "old")])
PUBLICATION = PublicationFacts(["insert"], through_root=True, has_table=True)
PLAIN = layout("native", "app.events", {}, partitioned=False)


def of(field: str, base: int, name: str = "some type", *, domain: int | None = None, generated: str = "") -> TableFacts:
    """Return the facts of our table with another column for `field`."""
    column = ColumnFacts(field, domain or base, base, name, generated)
    return replace(FACTS, columns=[column if each.name == field else each for each in FACTS.columns])


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_table_with_partitions_of_any_names_and_neighbours_of_any_names_is_streamed(plugin: str) -> None:
    check(replace(FACTS, others=["event_log"]), NATIVE, plugin=plugin)


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (TableFacts(None), "there is no table outbox.event"),
        (replace(FACTS, kind="v"), "outbox.event is a view: no row of it is in the WAL"),
        (replace(FACTS, kind="m"), "outbox.event is a materialized view"),
        (replace(FACTS, kind="f"), "outbox.event is a foreign table"),
        (replace(FACTS, temporary=["pg_temp_3.event"]), "pg_temp_3.event: the rows of temporary tables"),
        (
            replace(FACTS, unlogged=["outbox.a", "outbox.b"]),
            'outbox.a, outbox.b: .* - ALTER TABLE "outbox"."a" SET LOGGED; ALTER TABLE "outbox"."b" SET LOGGED',
        ),
        (
            replace(FACTS, foreign_partitions=["outbox.far"]),
            'outbox.far: .* - ALTER TABLE "outbox"."event" DETACH PARTITION "outbox"."far"',
        ),
        (
            replace(FACTS, children=["outbox.child"]),
            'outbox.child: .* under their names .*ALTER TABLE outbox.child NO INHERIT "outbox"."event"',
        ),
        (of("payload", types.OID, "oid"), r"'payload' \(oid\) of outbox.event has the number of a large object"),
        (of("headers", types.OID, "lo", domain=16400), r"'headers' \(lo\) of outbox.event has the number"),
        (of("payload", types.JSON, generated="v"), "does not send the generated columns .*: 'payload'"),
    ],
)
def test_a_table_whose_rows_or_values_no_stream_has_is_refused(facts: TableFacts, words: str, plugin: str) -> None:
    with pytest.raises(SourceRefused) as refused:
        check(facts, NATIVE, plugin=plugin)
    refused.match(words)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            replace(FACTS, leaves=[("outbox", "event_1"), ("else", "where")]),
            'else.where - ALTER TABLE "else"."where" SET SCHEMA "outbox"; or use RELAY_PLUGIN=pgoutput',
        ),
        (of("aggregate_id", types.NUMERIC, "numeric(20)"), r"'aggregate_id' \(numeric\(20\)\) .*RELAY_PLUGIN=pgoutput"),
        (of("id", types.FLOAT4), "NaN and infinity as NULL in 'id'"),
        (of("payload", types.FLOAT8), "NaN and infinity as NULL in 'payload'"),
    ],
)
def test_what_only_wal2json_does_not_show_is_refused_with_wal2json_only(facts: TableFacts, words: str) -> None:
    with pytest.raises(SourceRefused, match=words):
        check(facts, NATIVE, plugin="wal2json")
    check(facts, NATIVE, plugin="pgoutput")


@pytest.mark.parametrize(
    "facts",
    [
        of("created_at", types.NUMERIC),  # NaN reads as no time, as NULL does
        of("aggregate_id", types.NUMERIC, domain=16400),  # a domain over it is written whole
        of("tx", types.NUMERIC),  # no field of an event
    ],
)
def test_numbers_that_wal2json_writes_whole_are_streamed(facts: TableFacts) -> None:
    check(facts, NATIVE, plugin="wal2json")


def test_a_stored_generated_column_is_refused_unless_the_plugin_sends_it() -> None:
    facts = of("event_type", 25, "text", generated="s")
    check(facts, NATIVE, plugin="wal2json")
    check(replace(facts, publication=replace(PUBLICATION, generated=True)), NATIVE, plugin="pgoutput")

    with pytest.raises(SourceRefused, match=r"generated columns of outbox.event: 'event_type' \(text\) - .*wal2json"):
        check(replace(facts, publication=PUBLICATION), NATIVE, plugin="pgoutput")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_all_missing_columns_are_named_at_once_with_the_setting_that_names_others(plugin: str) -> None:
    with pytest.raises(UndecodableChange) as refused:
        check(replace(FACTS, columns=columns(NATIVE)[2:]), NATIVE, plugin=plugin)
    refused.match("table outbox.event has no column 'id', 'seq' - ")
    refused.match('RELAY_OUTBOX_COLUMNS=\'{"id": "...", "seq": "..."}\'')


@pytest.mark.parametrize(
    ("of_table", "changes", "words", "remedy"),
    [
        (NATIVE, {"actions": ["update"]}, "does not publish inserts", "SET (publish = 'insert, update')"),
        (NATIVE, {"has_table": False}, "does not contain outbox.event", 'ADD TABLE "outbox"."event"'),
        (
            NATIVE,
            {"through_root": False},
            "publishes partitions under their own names",
            "SET (publish_via_partition_root = true)",
        ),
        (
            NATIVE,
            {"row_filter": "(seq > 1)"},
            r"hides rows of outbox.event, by the filter \(seq > 1\)",
            'DROP TABLE "outbox"."event"; ALTER PUBLICATION "s" ADD TABLE "outbox"."event"',
        ),
        (
            NATIVE,
            {"columns": [name for name in NATIVE.columns.values() if name not in {"seq", "payload"}]},
            "hides columns payload, seq of outbox.event",
            'DROP TABLE "outbox"."event"; ALTER PUBLICATION "s" ADD TABLE "outbox"."event"',
        ),
    ],
)
def test_a_publication_that_lacks_events_is_refused_with_what_adds_them_and_never_to_be_dropped(
    of_table: Layout, changes: dict[str, object], words: str, remedy: str
) -> None:
    facts = replace(FACTS, publication=replace(PUBLICATION, **changes))  # type: ignore[arg-type]
    with pytest.raises(SourceRefused, match=f"publication 's' {words}") as refused:
        check_publication(facts, of_table, "s")
    assert f'ALTER PUBLICATION "s" {remedy}' in refused.value.remedy
    assert "set another RELAY_SLOT" in refused.value.remedy
    assert "DROP PUBLICATION" not in refused.value.remedy


def test_everything_that_a_publication_lacks_is_named_at_once() -> None:
    nothing = PublicationFacts([], through_root=False, has_table=False)
    with pytest.raises(SourceRefused, match=r"inserts and does not contain outbox\.event and publishes partitions"):
        check_publication(replace(FACTS, publication=nothing), NATIVE, "s")


def test_a_publication_that_publishes_the_events_is_accepted() -> None:
    every = [*NATIVE.columns.values(), "tx"]
    check_publication(replace(FACTS, publication=replace(PUBLICATION, columns=every)), NATIVE, "s")
    by_itself = TableFacts("r", columns(PLAIN), publication=replace(PUBLICATION, through_root=False))
    check_publication(by_itself, PLAIN, "s")


def test_logical_messages_need_a_publication_and_nothing_in_it_and_no_table() -> None:
    empty = PublicationFacts([], through_root=False, has_table=False)
    examine(TableFacts(None, publication=empty), None, plugin="pgoutput", publication="s")
    examine(TableFacts(None), None, plugin="wal2json", publication="s")

    with pytest.raises(SourceRefused, match="publication 's' does not exist - run `relay setup`"):
        examine(TableFacts(None), None, plugin="pgoutput", publication="s")
