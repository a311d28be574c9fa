"""Which outbox tables can be streamed."""

from typing import Any

import pytest

from relay.core.errors import SourceRefused, UndecodableChange
from relay.sources.fields import FIELDS
from relay.sources.layout import NATIVE
from relay.sources.tables import check
from relay.storage.facts import TableFacts

FACTS = TableFacts(partitioned=True, columns=list(FIELDS), other_names=[], other_tables=[])


def facts(**changes: Any) -> TableFacts:  # noqa: ANN401 - any field
    return TableFacts(**({name: getattr(FACTS, name) for name in TableFacts.__slots__} | changes))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "there is no table outbox.event"),
        (facts(other_names=["outbox.old"]), "does not show that these are partitions of outbox.event: outbox.old"),
        (facts(other_tables=["outbox.event_log"]), "would be read as partitions.*: outbox.event_log"),
    ],
)
def test_a_table_that_wal2json_would_read_wrongly_is_refused(found: TableFacts | None, words: str) -> None:
    with pytest.raises(SourceRefused, match=words):
        check(found, NATIVE, plugin="wal2json")


def test_pgoutput_recognizes_partitions_by_any_name() -> None:
    check(facts(other_names=["outbox.old"], other_tables=["outbox.event_log"]), NATIVE, plugin="pgoutput")


def test_a_missing_column_is_named_before_anything_is_read() -> None:
    with pytest.raises(UndecodableChange, match="no column 'payload'"):
        check(facts(columns=sorted({*FIELDS} - {"payload"})), NATIVE, plugin="wal2json")
