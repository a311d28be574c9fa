"""What `relay setup` does about the slot and the stored position, and what it never takes."""

from dataclasses import replace
from typing import Any

import pytest

from relay.core.errors import NotOurs, SlotHeld, SlotMissing, SlotMoved, SourceRefused
from relay.core.hashing.partition import Partition
from relay.operating.setup.deciding import Decision, decide, replaces
from relay.storage.facts import Facts, Owner
from tests.support.examples import FACTS, OWNER

NOTHING = {
    "checkpoint_slot": None, "checkpoint_lsn": None, "checkpoint_epoch": None, "checkpoint_at": None,
    "checkpoint_system": None, "checkpoint_database": None,
    "checkpoint_database_oid": None, "checkpoint_plugin": None, "checkpoint_outboxes": None,
    "checkpoint_slot_exists": False, "checkpoint_mode": None, "checkpoint_snapshot": None, "checkpoint_streamed": None,
}  # fmt: skip
GONE = {"slot": None, "plugin": None, "slot_database": None, "wal_status": None, "confirmed_flush_lsn": None}
LOST = {"wal_status": "lost"}
AHEAD_OF_THE_SERVER = {"confirmed_flush_lsn": "0/30", "checkpoint_lsn": "0/30"}
MOVED = {"confirmed_flush_lsn": "0/19"}
COPY = {"database_oid": 1, "database": "copy"}
PART = {"checkpoint_partition": 1, "checkpoint_partitions": 4}
OTHER = Owner("relay", "s", ["sales.outboxevent"])


def facts(*changes: dict[str, Any]) -> Facts:
    return replace(FACTS, **{name: value for change in changes for name, value in change.items()})


@pytest.mark.parametrize(
    ("found", "accept_gap", "slot", "set_position"),
    [
        (facts(NOTHING, GONE), False, "create", True),
        (facts(NOTHING), False, "keep", True),
        (facts(NOTHING, LOST), True, "drop and create", True),
        (facts(), False, "keep", False),
        (facts(), True, "keep", False),
        (facts(GONE), True, "create", True),
        (facts(LOST), True, "drop and create", True),
        (facts(MOVED), True, "keep", True),
        (facts({"checkpoint_lsn": "0/30"}), True, "keep", True),
        (facts(AHEAD_OF_THE_SERVER), True, "drop and create", True),
        (facts({"system_identifier": "8"}), True, "keep", True),
        (facts(GONE, {"checkpoint_outboxes": ["old.table"]}), True, "create", True),
        (facts({"checkpoint_slot": "old", "checkpoint_slot_exists": False}), True, "keep", True),
    ],
)
def test_what_is_done(found: Facts, *, accept_gap: bool, slot: str, set_position: bool) -> None:
    decision = decide(found, OWNER, plugin="auto", accept_gap=accept_gap, pollable=False)

    assert decision == Decision(slot, set_position)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "owner", "problem", "words"),
    [
        (facts(GONE), OWNER, SlotMissing, "no slot has what was committed since - run `relay setup --accept-gap`"),
        (facts(LOST), OWNER, SlotMissing, "then `relay audit --since 7d` names what nobody published"),
        (facts(MOVED), OWNER, SlotMoved, "moved or made again"),
        (facts({"checkpoint_lsn": "0/30"}), OWNER, SourceRefused, "ahead of the server's WAL"),
        (facts({"system_identifier": "8"}), OWNER, NotOurs, "--accept-gap"),
        (facts({"plugin": "pgoutput"}), OWNER, SlotMoved, "made again"),
        (facts(NOTHING, LOST), OWNER, SlotMissing, "if it is somebody else's"),
        (facts(NOTHING, {"confirmed_flush_lsn": "0/30"}), OWNER, SlotMissing, "ahead of the server's WAL"),
        (facts(NOTHING, {"holder_pid": 7, "holder_name": "debezium"}), OWNER, SlotHeld, "held by 'debezium', pid 7"),
    ],
)
def test_a_gap_is_named_and_not_skipped_silently(
    found: Facts, owner: Owner, problem: type[Exception], words: str
) -> None:
    with pytest.raises(problem, match=words):
        decide(found, owner, plugin="auto", accept_gap=False, pollable=False)


@pytest.mark.parametrize("accept_gap", [False, True])
@pytest.mark.parametrize(
    ("found", "owner", "words"),
    [
        (facts({"slot_database": "d1"}), OWNER, "belongs to database 'd1'"),
        (facts(NOTHING, {"slot_database": "d1"}), OWNER, "belongs to database 'd1'"),
        (facts({"other_relay": "sales"}), OWNER, "belongs to relay 'sales'"),
        (facts(), OTHER, "belongs to outbox.event, and this relay is set to sales.outboxevent"),
        (facts(), replace(OWNER, slot="t"), "RELAY_SLOT is 't'"),
        (facts(GONE), replace(OWNER, slot="t"), "RELAY_SLOT is 't'"),
        (facts({"plugin": "test_decoding"}), OWNER, "made with test_decoding"),
        (facts(GONE), replace(OWNER, partition=Partition(1, 4)), "and RELAY_PARTITION is 1/4"),
        (facts(GONE, PART), OWNER, "publishes partition 1/4 of outbox.event, and RELAY_PARTITION is 1/1"),
        (facts(GONE, PART), replace(OTHER, partition=Partition(1, 4)), "is set to sales.outboxevent"),
        (facts(GONE, COPY), OWNER, "'copy' is a copy of it"),
        (facts(GONE, COPY), replace(OWNER, slot="t"), "'copy' is a copy of it"),
    ],
)
def test_what_is_somebody_elses_is_never_taken(found: Facts, owner: Owner, words: str, *, accept_gap: bool) -> None:
    with pytest.raises(SourceRefused, match=words):
        decide(found, owner, plugin="auto", accept_gap=accept_gap, pollable=False)


ELSEWHERE = {"system_identifier": "8"}


@pytest.mark.parametrize(("found", "accept_gap", "replaced"), [(facts(), False, False), (facts(ELSEWHERE), True, True)])
def test_a_relay_that_only_polls_replaces_what_is_of_another_server(
    found: Facts, *, accept_gap: bool, replaced: bool
) -> None:
    assert replaces(found, OWNER, accept_gap=accept_gap) is replaced


@pytest.mark.parametrize(
    ("found", "owner", "accept_gap", "words"),
    [
        (facts(ELSEWHERE), OWNER, False, "to go on from a position of this server"),
        (facts({"checkpoint_snapshot": "9:9:"}), OWNER, True, "there is no gap to accept"),
        (facts({"checkpoint_snapshot": None}), OWNER, True, "no snapshot is stored"),
        (facts(ELSEWHERE), OTHER, True, "is set to sales.outboxevent"),
        (facts(ELSEWHERE), replace(OWNER, slot="t"), True, "RELAY_SLOT is 't'"),
        (facts(ELSEWHERE), replace(OWNER, partition=Partition(1, 4)), True, "and RELAY_PARTITION is 1/4"),
        (facts(COPY), OWNER, True, "'copy' is a copy of it"),
    ],
)
def test_a_relay_that_only_polls_replaces_nothing_else(
    found: Facts, owner: Owner, words: str, *, accept_gap: bool
) -> None:
    with pytest.raises(SourceRefused, match=words):
        replaces(found, owner, accept_gap=accept_gap)
