"""`relay setup --take-over`: an outbox is divided, divided otherwise, and made whole, and nothing is missed by it."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
import pytest

from relay.operating.setup.dividing import taking_over
from sandbox import Isolated
from tests.integration.relay.stage import Said, call, environment, one, publish, settings, streams
from tests.support.partitions import member, name

ROWS: LiteralString = """
SELECT coalesce(array_agg((name, partition, partitions, vacant)::text ORDER BY partition), '{}') FROM relay.checkpoint
"""
SLOTS: LiteralString = """
SELECT coalesce(array_agg(slot_name::text ORDER BY slot_name), '{}') FROM pg_replication_slots
WHERE database = current_database()
"""
STATE: LiteralString = """
UPDATE relay.checkpoint SET snapshot = %s::pg_snapshot, streamed = %s::int8multirange, epoch = epoch + 1,
    recorded_epoch = epoch + 1, recorded_since = '5:5:' WHERE name = %s
"""
STATES: LiteralString = """
SELECT array_agg(DISTINCT (mode, lsn IS NULL, snapshot, streamed, recorded_since, recorded_epoch = epoch)::text)
FROM relay.checkpoint
"""
SEES: LiteralString = (
    "SELECT (pg_snapshot_xmax(snapshot), ARRAY(SELECT pg_snapshot_xip(snapshot)))::text FROM relay.checkpoint"
)
STORED: tuple[LiteralString, ...] = (
    "INSERT INTO relay.confirmed (relay, seqs, ids_hash) VALUES (%s, '{[1,2)}', 1)",
    """
    INSERT INTO relay.parked (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers,
                              created_at, relay, reason, detail, outbox, tx, place)
    VALUES ('e', 1, 'order', '4', 1, 'paid', '{}', '{}', now(), %s, 'returned', '', 'outbox.event', '7', 1)
    """,
    "SELECT relay.note_position(%s, '0')",
)
RESTORE: LiteralString = """
CREATE TEMPORARY TABLE dumped AS SELECT * FROM outbox.event;
DELETE FROM outbox.event;
INSERT INTO outbox.event OVERRIDING SYSTEM VALUE SELECT * FROM dumped;
"""
PARKED: LiteralString = """
INSERT INTO relay.parked (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers,
                          created_at, relay, reason, detail, outbox, tx, place)
SELECT id, 1, 'order', id, 1, 'paid', '{}', '{}', now(), %s, 'returned', '', 'outbox.event', '7', %s::integer
FROM (SELECT %s::text AS id) AS event
"""
WHOSE: LiteralString = """
SELECT array_agg(DISTINCT relay) FROM (
    SELECT relay FROM relay.confirmed UNION ALL SELECT relay FROM relay.parked
    UNION ALL SELECT relay FROM relay.checkpoint_history
) AS stored
"""


def relay(isolated: Isolated, number: int, of: int, *command: str, **changes: str) -> Said:
    return call(environment(isolated, **{**member(isolated, number, of), **changes}), *command)


def whole(isolated: Isolated, *command: str) -> Said:
    return call(environment(isolated), *command)


def store(isolated: Isolated, relay: str, snapshot: str, streamed: str = "{}") -> None:
    """Say what a relay has published."""
    with psycopg.connect(isolated.database_url) as connection:
        assert connection.execute(STATE, [snapshot, streamed, relay]).rowcount == 1


def divided(isolated: Isolated, of: int) -> None:
    for number in range(1, of + 1):
        assert relay(isolated, number, of, "setup").code == 0


def test_partitions_begin_where_the_relay_of_all_events_stopped(ready: Isolated) -> None:
    streams(ready)
    store(ready, "relay", "703:710:703", "{[703,704),[712,714)}")
    said = relay(ready, 1, 3, "setup", "--take-over", "relay")
    assert said.code == 0, said.output
    assert "take-over: each of 3 partitions begins where 'relay' stopped" in said.output
    assert one(ready.database_url, ROWS) == [
        "(part1,1,3,f)",
        '("partition 2/3 of outbox.event",2,3,t)',
        '("partition 3/3 of outbox.event",3,3,t)',
    ]
    assert one(ready.database_url, SLOTS) == [f"{ready.name}_1"]
    expected = ['(polling,t,703:710:703,"{[703,704),[712,714)}",5:5:,t)']
    assert one(ready.database_url, STATES) == expected
    for number in (2, 3):
        assert relay(ready, number, 3, "setup").code == 0
    assert one(ready.database_url, STATES) == expected


def test_whoever_wrote_a_row_whose_place_was_taken_finds_it_gone_or_another_epoch_in_it(ready: Isolated) -> None:
    """A process that was frozen meanwhile stores where the name and the epoch are those that it wrote."""
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET epoch = 2, recorded_epoch = 2")
    variables = {"RELAY_NAME": "relay", "RELAY_SLOT": ready.name}
    assert relay(ready, 1, 2, "setup", "--take-over", "relay", **variables).code == 0
    assert one(ready.database_url, "SELECT min(epoch) FROM relay.checkpoint") == 3
    assert one(ready.database_url, "SELECT epoch FROM relay.checkpoint WHERE name = 'relay'") == 4
    assert relay(ready, 2, 2, "setup").code == 0
    assert whole(ready, "setup", "--take-over", "part2").code == 0
    assert one(ready.database_url, "SELECT epoch FROM relay.checkpoint WHERE name = 'relay'") == 5
    assert one(ready.database_url, "SELECT recorded_epoch FROM relay.checkpoint") == 5


def test_a_relay_of_all_events_does_not_take_the_place_of_another(ready: Isolated) -> None:
    said = call(environment(ready, RELAY_NAME="other", RELAY_SLOT=f"{ready.name}_o"), "setup", "--take-over", "relay")
    assert (said.code, "relay 'relay' publishes all events already - set RELAY_NAME=relay" in said.output) == (1, True)
    assert one(ready.database_url, ROWS) == ["(relay,1,1,f)"]


def test_a_slot_that_nobody_has_noted_is_not_taken(ready: Isolated) -> None:
    before = one(ready.database_url, ROWS)
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [f"{ready.name}_1"])
    said = relay(ready, 1, 2, "setup", "--take-over", "relay")
    assert (said.code, "exists, and no relay has noted it" in said.output) == (1, True)
    assert one(ready.database_url, ROWS) == before
    assert relay(ready, 1, 2, "slot", "drop", "--yes").code == 0
    assert relay(ready, 1, 2, "setup", "--take-over", "relay").code == 0


def test_a_relay_keeps_its_name_and_slot_when_it_becomes_one_of_several(ready: Isolated) -> None:
    variables = {"RELAY_NAME": "relay", "RELAY_SLOT": ready.name}
    first, again = (relay(ready, 1, 2, "setup", "--take-over", "relay", **variables) for _ in range(2))
    assert first.code == 0, first.output
    assert again.code == 0, again.output
    assert "take-over: outbox.event has 2 partitions already; nothing was changed" in again.output
    assert relay(ready, 2, 2, "setup", "--take-over", "relay").code == 0
    assert one(ready.database_url, ROWS) == ["(relay,1,2,f)", "(part2,2,2,f)"]
    assert one(ready.database_url, SLOTS) == sorted([ready.name, f"{ready.name}_2"])


@pytest.mark.parametrize(
    ("of", "published", "snapshot", "streamed"),
    [
        (2, [("700:700:", "{}"), ("720:720:", "{}")], "700:700:", "{}"),
        (2, [("703:710:703", "{}"), ("710:710:", "{}")], "703:710:703", "{}"),
        # What the first has streamed and the second has polled, or streamed too, both have published.
        (2, [("700:700:", "{[702,706)}"), ("704:704:", "{[705,709)}")], "700:700:", "{[702,704),[705,706)}"),
        (3, [("700:700:", "{[700,702)}"), ("703:703:", "{}"), ("700:703:701", "{}")], "700:700:", "{[700,701)}"),
    ],
)
def test_a_relay_of_all_events_begins_where_every_partition_was_published(
    isolated: Isolated, of: int, published: Sequence[tuple[str, str]], snapshot: str, streamed: str
) -> None:
    divided(isolated, of)
    for number, state in enumerate(published, start=1):
        store(isolated, name(number), *state)
    said = whole(isolated, "setup", "--take-over", name(2))
    assert said.code == 0, said.output
    assert "the relay begins where " + ", ".join(repr(name(n + 1)) for n in range(of)) in said.output
    assert one(isolated.database_url, ROWS) == ["(relay,1,1,f)"]
    assert one(isolated.database_url, "SELECT count(*) FROM relay.partitioned") == 0
    assert one(isolated.database_url, SLOTS) == [isolated.name]
    found = one(isolated.database_url, "SELECT (snapshot, streamed)::text FROM relay.checkpoint")
    assert found.replace('"', "") == f"({snapshot},{streamed})"


def test_a_partition_that_never_had_a_relay_is_published_from_its_beginning(isolated: Isolated) -> None:
    assert relay(isolated, 1, 2, "setup").code == 0
    begin = one(isolated.database_url, SEES + " WHERE vacant")
    publish(isolated.database_url, "a", "b")
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET snapshot = pg_current_snapshot() WHERE NOT vacant")
    assert whole(isolated, "setup", "--take-over", name(1)).code == 0
    assert one(isolated.database_url, SEES) == begin


def test_an_outbox_is_divided_otherwise(isolated: Isolated) -> None:
    divided(isolated, 2)
    assert relay(isolated, 3, 4, "setup", "--take-over", name(1)).code == 0
    assert one(isolated.database_url, "SELECT array_agg(partitions) FROM relay.partitioned") == [4]
    assert one(isolated.database_url, "SELECT array_agg(vacant::text ORDER BY partition) FROM relay.checkpoint") == [
        "true", "true", "false", "true",
    ]  # fmt: skip


def test_a_backlog_that_was_polled_in_part_goes_on_there(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET snapshot = '5:5:', round_snapshot = '900:900:', round_seq = 17")
    assert relay(ready, 1, 2, "setup", "--take-over", "relay").code == 0
    rounds = "SELECT array_agg((snapshot, round_snapshot, round_seq)::text) FROM relay.checkpoint"
    assert one(ready.database_url, rounds) == ["(5:5:,900:900:,17)"] * 2


def test_what_is_stored_of_a_relay_goes_to_whoever_takes_its_place(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        for statement in STORED:
            connection.execute(statement, ["relay"])
    assert relay(ready, 2, 3, "setup", "--take-over", "relay").code == 0
    assert one(ready.database_url, WHOSE) == ["part2"]
    assert relay(ready, 1, 3, "setup").code == 0
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        for statement in STORED:  # the first relay parks the same event again
            connection.execute(statement, ["part1"])
    assert whole(ready, "setup", "--take-over", "part2").code == 0
    assert set(one(ready.database_url, WHOSE)) <= {"relay", "part2"}
    parked: LiteralString = "SELECT count(*) FROM relay.parked WHERE relay = 'relay'"
    assert one(ready.database_url, parked) == 1


def test_parked_events_go_to_the_relay_of_their_partition(ready: Isolated) -> None:
    aggregates = [str(n) for n in range(1, 10)]
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        for aggregate in aggregates:
            connection.execute(PARKED, ["relay", aggregate, aggregate])
    assert relay(ready, 1, 3, "setup", "--take-over", "relay").code == 0
    assert one(ready.database_url, "SELECT array_agg(DISTINCT relay) FROM relay.parked") == ["part1"]
    for number in (2, 3):
        assert relay(ready, number, 3, "setup").code == 0
    astray: LiteralString = (
        "SELECT count(*) FROM relay.parked AS p JOIN relay.checkpoint AS c ON c.name = p.relay"
        " WHERE outbox.partition_of(p.aggregate_type, p.aggregate_id, c.partitions) <> c.partition"
    )
    assert one(ready.database_url, astray) == 0
    assert one(ready.database_url, "SELECT count(DISTINCT relay) FROM relay.parked") == 3
    listed = relay(ready, 3, 3, "parked", "list", "--json").json
    assert 0 < len(listed) < len(aggregates)


def test_of_two_rows_of_one_parked_event_the_one_that_waits_stays_in_sight(isolated: Isolated) -> None:
    divided(isolated, 2)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        for parked_by in ("part1", "part2"):
            connection.execute(PARKED, [parked_by, 1, "4"])
        connection.execute("UPDATE relay.parked SET discarded_at = now() WHERE relay = 'part1'")
    assert whole(isolated, "setup", "--take-over", "part1").code == 0
    waiting: LiteralString = "SELECT array_agg(relay) FROM relay.parked WHERE discarded_at IS NULL"
    assert one(isolated.database_url, waiting) == ["relay"]


def test_the_place_of_a_relay_that_is_active_is_not_taken(ready: Isolated) -> None:
    before = one(ready.database_url, ROWS)
    with psycopg.connect(ready.database_url, autocommit=True) as leader:
        leader.execute("SELECT pg_advisory_lock(hashtextextended('outbox-relay ' || 'relay', 0))")
        said = relay(ready, 1, 2, "setup", "--take-over", "relay")
        assert (said.code, "relay 'relay' is active, and its place cannot be taken" in said.output) == (1, True)
        assert (one(ready.database_url, ROWS), one(ready.database_url, SLOTS)) == (before, [ready.name])
    assert relay(ready, 1, 2, "setup", "--take-over", "relay").code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE relay.checkpoint SET outboxes = '{sales.outbox}'", "belongs to sales.outbox"),
        ("UPDATE relay.checkpoint SET outboxes = NULL", "has not noted which outbox it reads"),
        ("UPDATE relay.checkpoint SET system_identifier = '7'", "relay was stored on another server: 'relay'"),
        (
            "UPDATE relay.checkpoint SET mode = 'wal', lsn = '0/1', snapshot = NULL",
            "it is not known what relay 'relay'",
        ),
        ("DELETE FROM relay.checkpoint", "there is no relay 'relay' whose place could be taken"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_and_stays(ready: Isolated, change: LiteralString, said: str) -> None:
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute(change)
    before = one(ready.database_url, ROWS)
    refused = relay(ready, 1, 2, "setup", "--take-over", "relay")
    assert (refused.code, said in refused.output) == (1, True), refused.output
    assert one(ready.database_url, ROWS) == before
    assert one(ready.database_url, SLOTS) == [ready.name]


def test_a_relay_with_a_position_of_its_own_takes_no_place(isolated: Isolated) -> None:
    divided(isolated, 2)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO relay.checkpoint (name, mode, snapshot, system_identifier, timeline, outboxes)"
            " SELECT 'relay', 'polling', '5:5:', system_identifier::text, 1, '{outbox.event}' FROM pg_control_system()"
        )
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [isolated.name])
    said = whole(isolated, "setup", "--take-over", name(1))
    assert (said.code, "relay 'relay' has a position of its own already" in said.output) == (1, True)


def test_the_place_of_a_relay_of_another_outbox_is_not_taken_whatever_its_number_of_partitions(
    isolated: Isolated,
) -> None:
    divided(isolated, 2)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA sales; CREATE TABLE sales.event (LIKE outbox.event INCLUDING ALL)")
    for of in (1, 2):
        variables = {"RELAY_NAME": "sales", "RELAY_SLOT": f"{isolated.name}_s", "RELAY_OUTBOX_TABLE": "sales.event"}
        said = relay(isolated, 1, of, "setup", "--take-over", name(1), **variables)
        assert said.code == 1
        assert "relay 'part1' belongs to outbox.event, and this relay is set to sales.event" in said.output


def test_after_pg_upgrade_a_partition_that_has_no_relay_goes_on_with_the_others(isolated: Isolated) -> None:
    assert relay(isolated, 1, 3, "setup").code == 0
    assert relay(isolated, 2, 3, "setup").code == 0
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("UPDATE relay.checkpoint SET system_identifier = '7'")
    refused = whole(isolated, "setup", "--take-over", name(1))
    assert "run `relay setup` with the settings of each of these relays: 'part1', 'part2'; it says" in refused.output
    for number in (1, 2):
        said = relay(isolated, number, 3, "setup")
        assert "after pg_upgrade, which keeps the numbers of transactions, run `relay" in said.output
        assert relay(isolated, number, 3, "setup", "--accept-upgrade").code == 0
    taken = whole(isolated, "setup", "--take-over", name(1))
    assert taken.code == 0, taken.output
    assert one(isolated.database_url, ROWS) == ["(relay,1,1,f)"]


def test_relays_that_went_on_after_pg_upgrade_with_an_older_version_are_taken_over_as_the_remedies_say(
    isolated: Isolated,
) -> None:
    """It left the partitions that have no relay as they were."""
    assert relay(isolated, 1, 3, "setup").code == 0
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("UPDATE relay.checkpoint SET system_identifier = '7' WHERE vacant")
    refused = whole(isolated, "setup", "--take-over", name(1))
    assert "the position of a partition was stored on another server: 2/3, 3/3" in refused.output
    expected = (
        "with a RELAY_NAME and a RELAY_SLOT of its own: RELAY_PARTITION=2/3, RELAY_PARTITION=3/3; it says what to do"
    )
    assert expected in refused.output
    said = relay(isolated, 2, 3, "setup")
    assert "after pg_upgrade, which keeps the numbers of transactions, run `relay" in said.output
    assert relay(isolated, 2, 3, "setup", "--accept-upgrade").code == 0
    taken = whole(isolated, "setup", "--take-over", name(1))
    assert taken.code == 0, taken.output
    assert one(isolated.database_url, ROWS) == ["(relay,1,1,f)"]


@pytest.mark.parametrize("source", ["auto", "polling"])
def test_after_a_dump_and_restore_the_remedies_lead_to_a_taking_over(source: str, isolated: Isolated) -> None:
    variables = {"RELAY_SOURCE": source}
    assert relay(isolated, 1, 2, "setup", **variables).code == 0
    publish(isolated.database_url, *map(str, range(10)))
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(RESTORE)
        connection.execute("UPDATE relay.checkpoint SET system_identifier = '7'")
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
            [f"{isolated.name}_1"],
        )
    for number, named in ((1, "settings of each of these relays: 'part1'; it says"), (2, "another server: 2/2 - ")):
        refused = call(environment(isolated, **variables), "setup", "--take-over", name(1))
        assert (refused.code, named in refused.output) == (1, True), refused.output
        said = relay(isolated, number, 2, "setup", **variables)
        assert (said.code, "then run `relay setup --accept-gap` to go on" in said.output) == (1, True), said.output
        assert relay(isolated, number, 2, "setup", "--accept-gap", **variables).code == 0
    if source == "auto":
        for number in (1, 2):
            refused = call(environment(isolated), "setup", "--take-over", name(1))
            assert f"let relay '{name(number)}' stream for a few seconds, which stores a snapshot" in refused.output
            store(isolated, name(number), one(isolated.database_url, "SELECT pg_current_snapshot()::text"))
    taken = call(environment(isolated, **variables), "setup", "--take-over", name(1))
    assert taken.code == 0, taken.output
    assert one(isolated.database_url, ROWS) == ["(relay,1,1,f)"]


def test_the_sql_of_a_dry_run_does_it(ready: Isolated) -> None:
    store(ready, "relay", "700:710:703", "{[712,714)}")
    of = settings(ready, name=name(1), slot=f"{ready.name}_1", partition="1/2")
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        before = one(ready.database_url, ROWS)
        scripts = list(taking_over.plan(connection, of, "relay"))
        assert one(ready.database_url, ROWS) == before
        for script in scripts:
            connection.execute(script.encode())
    assert one(ready.database_url, ROWS) == ["(part1,1,2,f)", '("partition 2/2 of outbox.event",2,2,t)']
    assert one(ready.database_url, SLOTS) == []
    assert relay(ready, 1, 2, "setup", "--take-over", "relay").code == 0
    assert "-- then what" in relay(ready, 1, 2, "setup", "--take-over", "relay", "--dry-run").output
