"""`relay audit` and `relay replay` of an outbox that several relays share: each covers all of it."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
import pytest

from outboxkit import sql
from sandbox import Isolated
from tests.integration.relay.stage import Said, call, environment, one, publish
from tests.support.partitions import member, name

OF = 3
MINE: LiteralString = """
SELECT e.seq, e.id::text FROM outbox.event AS e, relay.checkpoint AS c
WHERE c.name = %s AND e.id = ANY (%s::uuid[])
  AND outbox.partition_of(e.aggregate_type, e.aggregate_id, c.partitions) = c.partition
"""
PUBLISHED: LiteralString = """
UPDATE relay.checkpoint SET snapshot = pg_current_snapshot(), epoch = epoch + 1, recorded_epoch = epoch + 1
WHERE name = %s
"""


@pytest.fixture
def divided(isolated: Isolated) -> Isolated:
    """Return an outbox with relays for three partitions, and one position of the past."""
    for number in range(1, OF + 1):
        assert relay(isolated, number, "setup", RELAY_SOURCE="polling").code == 0
    note(isolated, 1)
    return isolated


def relay(isolated: Isolated, number: int, *command: str, **changes: str) -> Said:
    return call(environment(isolated, **{**member(isolated, number, OF), **changes}), *command)


def audit(isolated: Isolated, number: int) -> Said:
    return relay(isolated, number, "audit", "--json", "--grace", "1s", RELAY_SOURCE="polling")


def note(isolated: Isolated, number: int) -> None:
    assert one(isolated.database_url, "SELECT relay.note_position(%s, '0 s')", name(number))


def confirm(isolated: Isolated, number: int, ids: Sequence[str]) -> set[str]:
    """Record, as the relay of a partition does, the confirms of those of some events that are its own; return these."""
    with psycopg.connect(isolated.database_url) as connection:
        rows = connection.execute(MINE, [name(number), list(ids)]).fetchall()
        connection.execute(
            sql.query("confirmed_note"),
            {
                "relay": name(number),
                "confirmed_seqs": [row[0] for row in rows],
                "confirmed_ids": [row[1] for row in rows],
            },
        )
    return {row[1] for row in rows}


def advance(isolated: Isolated, number: int) -> None:
    """Say that the relay of a partition has published everything."""
    with psycopg.connect(isolated.database_url) as connection:
        assert connection.execute(PUBLISHED, [name(number)]).rowcount == 1


def test_whichever_relay_audits_it_audits_all_of_the_outbox(divided: Isolated) -> None:
    ids = publish(divided.database_url, *map(str, range(60)))
    for number in range(1, OF + 1):
        assert confirm(divided, number, ids)
        advance(divided, number)
    note(divided, 2)
    for number in range(1, OF + 1):
        said = audit(divided, number)
        assert (said.code, said.json["verdict"]) == (0, "clean"), said.output
        totals = said.json["totals"]
        assert (totals["committed"], totals["confirmed"], totals["missing"]) == (60, 60, 0)


def test_what_a_relay_has_not_published_yet_is_pending_whatever_the_others_say(divided: Isolated) -> None:
    ids = publish(divided.database_url, *map(str, range(60)))
    done = confirm(divided, 1, ids)
    advance(divided, 1)
    note(divided, 1)
    said = audit(divided, 1)
    totals = said.json["totals"]
    assert (said.code, totals["confirmed"], totals["pending"]) == (0, len(done), 60 - len(done)), said.output


def test_an_event_that_the_position_of_its_own_relay_covers_and_no_confirm_does_is_missing(divided: Isolated) -> None:
    ids = publish(divided.database_url, *map(str, range(60)))
    confirmed = {number: confirm(divided, number, ids[: 60 if number == 1 else 50]) for number in (1, 2)}
    advance(divided, 1)
    advance(divided, 2)
    note(divided, 3)
    said = audit(divided, 3)
    mine = {each for each in ids if each not in confirmed[1] | confirmed[2]} & confirm(divided, 2, ids)
    assert mine, "the last ten events have none of partition 2"
    assert (said.code, said.json["verdict"]) == (3, "missing")
    assert {each["id"] for each in said.json["missing"]} == mine


def test_events_of_a_partition_without_a_relay_are_pending(isolated: Isolated) -> None:
    assert relay(isolated, 1, "setup", RELAY_SOURCE="polling").code == 0
    note(isolated, 1)
    ids = publish(isolated.database_url, *map(str, range(30)))
    done = confirm(isolated, 1, ids)
    advance(isolated, 1)
    note(isolated, 1)
    totals = audit(isolated, 1).json["totals"]
    assert (totals["confirmed"], totals["pending"], totals["unrecorded"]) == (len(done), 30 - len(done), 0)


def test_events_whose_confirms_another_relay_has_forgotten_are_not_judged(divided: Isolated) -> None:
    """It had them since it took the place of an earlier relay; where it forgets some, its record begins later."""
    ids = publish(divided.database_url, *map(str, range(60)))
    note(divided, 2)
    for number in range(1, OF + 1):
        advance(divided, number)
    with psycopg.connect(divided.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET recorded_since = pg_current_snapshot() WHERE name = 'part1'")
    totals = audit(divided, 2).json["totals"]
    assert (totals["committed"], totals["unrecorded"], totals["missing"]) == (len(ids), len(ids), 0)


def test_a_replay_covers_all_partitions_from_any_position_that_one_of_them_has_noted(divided: Isolated) -> None:
    publish(divided.database_url, *map(str, range(20)))
    said = relay(divided, 3, "replay", "--from-time", "1h", "--dry-run", RELAY_SOURCE="polling")
    assert said.code == 1, "no position is that old"
    oldest = said.output.partition("--from-time '")[2].partition("'")[0]
    assert oldest, said.output
    said = relay(divided, 3, "replay", "--from-time", oldest, "--dry-run", "--json", RELAY_SOURCE="polling")
    assert (said.code, said.json["events"]) == (0, 20), said.output


def test_each_relay_lists_the_replays_of_all(divided: Isolated) -> None:
    with psycopg.connect(divided.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO relay.replay"
            " (relay, outbox, source, after_snapshot, until_snapshot, system_identifier, timeline)"
            " SELECT 'part1', 'outbox.event', 'table', '5:5:', '9:9:', system_identifier::text, 1"
            " FROM pg_control_system()"
        )
    for number in (1, 2):
        listed = relay(divided, number, "replay", "list", "--json", RELAY_SOURCE="polling").json
        assert [each["relay"] for each in listed] == ["part1"]
