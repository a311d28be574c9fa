"""Where a stream starts, whose slot it reads, and what is refused before anything moves."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.core.errors import NotOurs, PluginRefused, RepairNeeded, SlotHeld, SlotMissing, SlotMoved, SourceRefused
from relay.core.hashing.partition import Partition
from relay.core.position import Lsn
from relay.sources.wal.starting import plugin_of, require_free, start_position
from relay.storage.facts import Facts, Owner
from tests.support.examples import FACTS, OWNER


@pytest.mark.parametrize(
    ("slot", "stored", "after", "start"),
    [
        ("0/10", "0/10", None, 0x10),
        ("0/10", "0/18", None, 0x18),  # Postgres crashed and set the slot back; or the relay died before it reported
        ("0/10", "0/14", 0x18, 0x18),  # the stream broke, and this process knows more than was stored
        ("0/10", "0/18", 0x14, 0x18),
    ],
)
def test_a_stream_starts_at_the_stored_position_or_at_what_this_process_has_confirmed_since(
    slot: str, stored: str, after: int | None, start: int
) -> None:
    facts = replace(FACTS, confirmed_flush_lsn=slot, checkpoint_lsn=stored)

    assert start_position(facts, OWNER, None if after is None else Lsn(after)) == start


@pytest.mark.parametrize("after", [None, Lsn(0x19)])
def test_a_slot_ahead_of_the_stored_position_was_moved_or_made_again_and_the_gap_is_named(after: Lsn | None) -> None:
    with pytest.raises(SlotMoved, match=r"begins at 0/19, .* up to 0/10, stored at 2026-11-20 .* the 9 bytes"):
        start_position(replace(FACTS, confirmed_flush_lsn="0/19", checkpoint_lsn="0/10"), OWNER, after)


def test_a_slot_ahead_of_a_position_that_an_older_version_stored_is_ours() -> None:
    """It reported each position before it stored it."""
    facts = replace(FACTS, confirmed_flush_lsn="0/19", checkpoint_lsn="0/10", checkpoint_database_oid=None)

    assert start_position(facts, OWNER, None) == 0x19


def test_a_stored_position_ahead_of_the_server_is_refused() -> None:
    with pytest.raises(SourceRefused, match="0/21 is ahead of the server's WAL, which ends at 0/20"):
        start_position(replace(FACTS, checkpoint_lsn="0/21"), OWNER, None)


def test_a_relay_without_a_stored_position_does_not_start() -> None:
    with pytest.raises(SourceRefused, match="has no stored position - run `relay setup`"):
        start_position(replace(FACTS, checkpoint_lsn=None, checkpoint_mode=None), OWNER, None)


def test_a_relay_that_has_only_polled_has_no_place_in_the_wal() -> None:
    with pytest.raises(SourceRefused, match="has not streamed from replication slot 's' yet"):
        start_position(replace(FACTS, checkpoint_mode="polling", checkpoint_lsn=None), OWNER, None)


OTHER_OUTBOX = Owner("relay", "s", ["sales.outboxevent"])
MESSAGES = Owner("relay", "s", ["message:orders"])


@pytest.mark.parametrize(
    ("owner", "change", "words"),
    [
        (OWNER, {"slot_database": "d1"}, "'s' belongs to database 'd1', and this is database 'shop'.*RELAY_SLOT"),
        (OWNER, {"slot_database": None, "plugin": None}, "is a physical slot"),
        (
            OWNER,
            {"other_relay": "sales", "other_outboxes": ["sales.outbox"]},
            "belongs to relay 'sales' of sales.outbox, and this is relay 'relay' of outbox.event - .*RELAY_NAME=sales",
        ),
        (OTHER_OUTBOX, {}, "belongs to outbox.event, and this relay is set to sales.outboxevent - "),
        (OWNER, {"checkpoint_outboxes": ["sales.out"]}, "if a setting was lost, set RELAY_OUTBOX_TABLE=sales.out"),
        (OWNER, {"checkpoint_outboxes": ["message:orders"]}, "set RELAY_MESSAGE_PREFIX=orders"),
        (MESSAGES, {}, "is set to message:orders"),
        (
            replace(OWNER, partition=Partition(1, 4)),
            {},
            (
                "publishes all events of outbox.event, and RELAY_PARTITION is 1/4 - unset RELAY_PARTITION; to divide"
                " the outbox anew, stop this relay, then run `relay setup --take-over relay`"
            ),
        ),
        (
            replace(OWNER, partition=Partition(1, 4)),
            {"checkpoint_partition": 1, "checkpoint_partitions": 3},
            "publishes partition 1/3 .*stop all 3 relays of the outbox",
        ),
        (
            replace(OWNER, partition=Partition(2, 4)),
            {"checkpoint_partition": 1, "checkpoint_partitions": 4},
            "set RELAY_PARTITION=1/4; for another partition, set RELAY_NAME and RELAY_SLOT to other names too",
        ),
        (OWNER, {"checkpoint_partition": 1, "checkpoint_partitions": 4}, "and RELAY_PARTITION is 1/1"),
        (
            replace(OWNER, partition=Partition(1, 4), partitioned_by=["kind", "key"]),
            {"checkpoint_partition": 1, "checkpoint_partitions": 4, "checkpoint_partitioned_by": ["kind", "id"]},
            (
                "is divided by its columns kind, id, and relay 'relay' is set to kind, key: .* set "
                'RELAY_OUTBOX_COLUMNS=\'{"aggregate_type": "kind", "aggregate_id": "id"}\', as for the other relays'
            ),
        ),
        (replace(OWNER, slot="t"), {"slot": "t"}, "has replication slot 's', and RELAY_SLOT is 't' - set RELAY_SLOT=s"),
        (OWNER, {"system_identifier": "8"}, "stored on system 7000000000000000001, and this is 8"),
        (OWNER, {"database_oid": 1, "database": "copy", "slot_database": "copy"}, "'copy' is a copy of it"),
    ],
)
def test_what_is_another_relays_is_refused_with_both_names(owner: Owner, change: dict[str, Any], words: str) -> None:
    with pytest.raises(NotOurs, match=words):
        plugin_of(changed(**change), owner, plugin="auto")


def test_a_renamed_database_is_the_same_one() -> None:
    assert plugin_of(changed(database="new name", slot_database="new name"), OWNER, plugin="auto") == "wal2json"


@pytest.mark.parametrize(
    "unknown", [{"checkpoint_outboxes": None}, {"checkpoint_database_oid": None, "checkpoint_database": None}]
)
def test_what_an_older_version_did_not_store_is_not_held_against_it(unknown: dict[str, Any]) -> None:
    assert plugin_of(changed(**unknown), OWNER, plugin="auto") == "wal2json"


@pytest.mark.parametrize(
    ("change", "problem", "words"),
    [
        ({"server_encoding": "LATIN1"}, SourceRefused, "LATIN1"),
        ({"slot": None, "checkpoint_lsn": None}, SlotMissing, "does not exist - run `relay setup`$"),
        ({"slot": None}, SlotMissing, "it was lost: events after 0/18"),
        (
            {"plugin": "pgoutput", "checkpoint_plugin": "pgoutput"},
            SourceRefused,
            "and the relay needs wal2json - set RELAY_PLUGIN=pgoutput",
        ),
        (
            {"plugin": "test_decoding", "checkpoint_plugin": None},
            SourceRefused,
            "if nobody else uses the slot, run `relay slot drop`",
        ),
        ({"wal_status": "lost"}, SlotMissing, "is lost"),
        ({"in_recovery": True}, RepairNeeded, "is a standby"),
        ({"plugin": "pgoutput"}, PluginRefused, "was made with pgoutput"),
    ],
)
def test_what_stops_a_stream_is_named_with_its_remedy(
    change: dict[str, Any], problem: type[Exception], words: str
) -> None:
    with pytest.raises(problem, match=words):
        plugin_of(changed(**change), OWNER, plugin="wal2json")


def test_who_holds_the_slot_is_named() -> None:
    held = changed(holder_pid=42, holder_name="relay", holder_since=datetime(2026, 11, 20, tzinfo=UTC))

    with pytest.raises(SlotHeld, match="held by 'relay', pid 42, since 2026-11-20 00:00:00 UTC"):
        require_free(held, OWNER)
    with pytest.raises(SlotHeld, match="held by 'relay', pid 42 - this relay"):
        require_free(replace(held, holder_since=None), OWNER)


def changed(**changes: Any) -> Facts:  # noqa: ANN401 - any field
    return replace(FACTS, **changes)
