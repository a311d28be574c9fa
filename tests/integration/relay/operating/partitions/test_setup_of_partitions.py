"""`relay setup` of relays that share an outbox: where they begin, and what does not fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from relay.operating.setup import planning
from relay.operating.setup.extra import Extras
from sandbox import Isolated
from tests.integration.relay.stage import Said, call, environment, one, publish, settings
from tests.support.partitions import member, name

ROWS: LiteralString = """
SELECT array_agg(
    (name, slot, partition, partitions, vacant, mode, lsn IS NULL, recorded_epoch = epoch)::text ORDER BY partition
) FROM relay.checkpoint
"""
BEGINS: LiteralString = "SELECT count(DISTINCT (snapshot::text, recorded_since::text)) FROM relay.checkpoint"
SLOTS: LiteralString = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"


ELSEWHERE: LiteralString = "UPDATE relay.checkpoint SET system_identifier = '8'"
RESTORE: LiteralString = """
CREATE TEMPORARY TABLE dumped AS SELECT * FROM outbox.event;
DELETE FROM outbox.event;
INSERT INTO outbox.event OVERRIDING SYSTEM VALUE SELECT * FROM dumped;
"""
HERE: LiteralString = """
SELECT array_agg(system_identifier = (SELECT system_identifier::text FROM pg_control_system()) ORDER BY partition)
FROM relay.checkpoint
"""
THEN = "-- then what `relay setup --dry-run` prints when this is done"
EPOCHS: LiteralString = "SELECT array_agg(epoch ORDER BY partition) FROM relay.checkpoint"
UNSEEN = """
SELECT count(*) FROM outbox.event, relay.checkpoint WHERE name = %s AND NOT pg_visible_in_snapshot(tx, snapshot)
"""


@contextmanager
def copied(isolated: Isolated) -> Iterator[Isolated]:
    """Yield a copy of the database on the same server; it and its slots are dropped afterwards."""
    copy = replace(isolated, database_url=f"{isolated.database_url}_copy", name=f"{isolated.name}_copy")
    with psycopg.connect(isolated.database_url, dbname="postgres", autocommit=True) as connection:
        names = SQL("{} TEMPLATE {}").format(Identifier(copy.name), Identifier(isolated.name))
        connection.execute(SQL("CREATE DATABASE {}").format(names))
        try:
            yield copy
        finally:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", [copy.name]
            )
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(copy.name)))


def relay(isolated: Isolated, number: int, of: int, *command: str, **changes: str) -> Said:
    return call(environment(isolated, **{**member(isolated, number, of), **changes}), *command)


def checked(said: Said) -> dict[str, dict[str, str]]:
    return {each["id"]: each for each in said.json["checks"]}


@pytest.mark.parametrize("source", ["auto", "polling"])
def test_all_partitions_begin_where_the_first_one_begins(source: str, isolated: Isolated) -> None:
    assert relay(isolated, 2, 3, "setup", RELAY_SOURCE=source).code == 0
    assert one(isolated.database_url, "SELECT count(*) FROM relay.checkpoint WHERE vacant") == 2
    publish(isolated.database_url, *map(str, range(20)))  # between the first relay and the others
    for number in (1, 3):
        said = relay(isolated, number, 3, "setup", RELAY_SOURCE=source)
        assert said.code == 0, said.output
        assert f"from where partition {number}/3 begins" in said.output
    assert one(isolated.database_url, BEGINS) == 1
    assert one(isolated.database_url, "SELECT bool_or(vacant) FROM relay.checkpoint") is False
    assert one(isolated.database_url, SLOTS) == (3 if source == "auto" else 0)
    unseen: LiteralString = (
        "SELECT count(*) FROM outbox.event, relay.checkpoint WHERE NOT pg_visible_in_snapshot(tx, snapshot)"
    )
    assert one(isolated.database_url, unseen) == 3 * 20


def test_from_the_start_all_begin_at_the_start_of_the_table(isolated: Isolated) -> None:
    publish(isolated.database_url, "a", "b")
    assert relay(isolated, 1, 2, "setup", "--from", "start").code == 0
    assert relay(isolated, 2, 2, "setup").code == 0
    assert one(isolated.database_url, "SELECT count(*) FROM relay.checkpoint WHERE snapshot::text = '3:3:'") == 2


def test_setup_is_safe_to_repeat(isolated: Isolated) -> None:
    for _ in range(2):
        for number in (1, 2):
            assert relay(isolated, number, 2, "setup").code == 0
    again = relay(isolated, 2, 2, "setup").output
    assert "exists, from" in again
    assert "events are published from the stored position" in again


def test_one_of_four_beside_one_of_three_is_refused_and_the_remedy_works(isolated: Isolated) -> None:
    assert relay(isolated, 1, 3, "setup").code == 0
    before = one(isolated.database_url, ROWS)
    variables = {"RELAY_NAME": "late", "RELAY_SLOT": f"{isolated.name}_late"}
    said = relay(isolated, 1, 4, "setup", **variables)
    assert said.code == 1
    assert "divided into 3 partitions (relay 'part1'), and relay 'late' has RELAY_PARTITION=1/4" in said.output
    assert "set RELAY_PARTITION=2/3" in said.output
    assert one(isolated.database_url, ROWS) == before
    assert one(isolated.database_url, SLOTS) == 1
    assert relay(isolated, 2, 3, "setup", **variables).code == 0


def test_a_partition_has_one_relay(isolated: Isolated) -> None:
    assert relay(isolated, 1, 2, "setup").code == 0
    said = relay(isolated, 1, 2, "setup", RELAY_NAME="second", RELAY_SLOT=f"{isolated.name}_second")
    assert said.code == 1
    assert "partition 1/2 of outbox.event has relay 'part1', and this is relay 'second'" in said.output
    assert "or set RELAY_PARTITION to one that has no relay: 2/2" in said.output


def test_a_relay_of_all_events_and_relays_of_partitions_are_not_set_up_beside_each_other(isolated: Isolated) -> None:
    assert call(environment(isolated), "setup").code == 0
    said = relay(isolated, 1, 2, "setup")
    assert (said.code, "relay 'relay' publishes all events of outbox.event" in said.output) == (1, True)
    assert "run `relay setup --take-over 'relay'`" in said.output
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM relay.checkpoint")
    assert relay(isolated, 1, 2, "setup").code == 0
    said = call(environment(isolated, RELAY_SLOT=f"{isolated.name}_all"), "setup")
    assert (said.code, "and relay 'relay' is set to publish all of it" in said.output) == (1, True)


def test_all_relays_of_an_outbox_hash_the_same_columns(isolated: Isolated) -> None:
    """Otherwise an event might be no relay's: each would find it in the partition of another one."""
    assert relay(isolated, 1, 2, "setup").code == 0
    found = one(isolated.database_url, "SELECT array_agg(DISTINCT partitioned_by::text) FROM relay.checkpoint")
    assert found == ["{aggregate_type,aggregate_id}"]
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("UPDATE relay.checkpoint SET partitioned_by = '{kind,key}'")
    for number in (1, 2):
        said = relay(isolated, number, 2, "setup")
        assert (said.code, "outbox.event is divided by its columns kind, key" in said.output) == (1, True)


@pytest.mark.parametrize("command", [("setup",), ("slot", "skip"), ("audit",), ("positions",)])
def test_a_relay_keeps_its_partition(isolated: Isolated, command: tuple[str, ...]) -> None:
    for number in (1, 2):
        assert relay(isolated, number, 2, "setup").code == 0
    said = relay(isolated, 1, 2, *command, RELAY_PARTITION="2/2")
    assert said.code == 1
    assert "relay 'part1' publishes partition 1/2 of outbox.event, and RELAY_PARTITION is 2/2" in said.output
    findings = checked(relay(isolated, 1, 2, "check", "--json", RELAY_PARTITION="2/2"))
    assert findings["checkpoint.owner"]["status"] == "FAIL"


def test_a_slot_that_nobody_has_noted_is_not_taken(isolated: Isolated) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [f"{isolated.name}_1"])
    said = relay(isolated, 1, 2, "setup", RELAY_PLUGIN="pgoutput")
    assert said.code == 1
    assert "exists, and no relay has noted it" in said.output
    assert one(isolated.database_url, "SELECT count(*) FROM relay.checkpoint") == 0
    assert relay(isolated, 1, 2, "slot", "drop", "--yes").code == 0
    assert relay(isolated, 1, 2, "setup", RELAY_PLUGIN="pgoutput").code == 0


@pytest.mark.parametrize("begun", [False, True])
def test_a_dry_run_prints_what_setup_does(isolated: Isolated, *, begun: bool) -> None:
    if begun:
        assert relay(isolated, 1, 2, "setup").code == 0
    of = settings(isolated, name=name(2), slot=f"{isolated.name}_2", partition="2/2")
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        before = one(isolated.database_url, ROWS)
        scripts = list(planning.plan(of, accept_gap=False))
        assert one(isolated.database_url, ROWS) == before
        for script in scripts:
            connection.execute(script.encode())
        planned = one(isolated.database_url, ROWS)
        assert f"({name(2)},{isolated.name}_2,2,2,f,polling,t,t)" in planned
    assert relay(isolated, 2, 2, "setup").code == 0
    assert one(isolated.database_url, ROWS) == planned


def test_check_and_status_say_which_partition_nobody_publishes(isolated: Isolated) -> None:
    assert relay(isolated, 1, 2, "setup").code == 0
    said = relay(isolated, 1, 2, "check", "--json")
    found = checked(said)["partition.members"]
    assert (said.code, found["status"]) == (3, "FAIL")
    assert "no relay is set up for partition 2/2 of outbox.event" in found["summary"]
    shown = relay(isolated, 1, 2, "status", "--json").json
    assert [(each["partition"], each["relay"]) for each in shown["members"]] == [("1/2", "part1"), ("2/2", None)]

    assert relay(isolated, 2, 2, "setup").code == 0
    found = checked(relay(isolated, 1, 2, "check", "--json"))["partition.members"]
    assert (found["status"], "relay 'part2' (2/2) is not active" in found["summary"]) == ("WARN", True)
    with psycopg.connect(isolated.database_url, autocommit=True) as leader:
        leader.execute("SELECT pg_advisory_lock(hashtextextended('outbox-relay ' || 'part2', 0))")
        assert checked(relay(isolated, 1, 2, "check", "--json"))["partition.members"]["status"] == "OK"
        shown = relay(isolated, 1, 2, "status", "--json").json
        assert [each["active"] for each in shown["members"]] == [False, True]
        assert shown["last_error"] == "this relay is not active", "the other one is, and may poll"
        assert shown["switch_waits_for"] == "this relay, which is not active"


def test_a_relay_of_all_events_has_no_members(ready: Isolated) -> None:
    assert checked(call(environment(ready), "check", "--json"))["partition.members"]["status"] == "OK"
    assert call(environment(ready), "status", "--json").json["members"] == []


@pytest.fixture
def restored(isolated: Isolated) -> Isolated:
    """Return a database as a dump and restore leaves it, on another server, in which partition 2/2 has no relay."""
    assert relay(isolated, 1, 2, "setup").code == 0
    publish(isolated.database_url, *map(str, range(10)))
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(RESTORE)
        connection.execute(ELSEWHERE)
    assert relay(isolated, 1, 2, "slot", "drop", "--yes").code == 0
    return isolated


@pytest.mark.parametrize("source", ["auto", "polling"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_partition_of_another_server_is_refused_as_by_all_other_commands(
    source: str, dry: tuple[str, ...], restored: Isolated
) -> None:
    before = one(restored.database_url, ROWS)
    known = relay(restored, 1, 2, "audit")
    said = relay(restored, 2, 2, "setup", *dry, RELAY_SOURCE=source)
    assert (known.code, said.code) == (1, 1), said.output
    assert "the position was stored on system 8, and this is" in said.output
    assert said.output.splitlines()[-1] == known.output.splitlines()[-1]
    assert one(restored.database_url, ROWS) == before
    assert one(restored.database_url, SLOTS) == 0


def test_a_partition_of_another_server_goes_on_as_the_remedy_says(restored: Isolated) -> None:
    before = one(restored.database_url, ROWS)
    refused = relay(restored, 2, 2, "setup", "--accept-upgrade")
    assert (refused.code, "was not made by pg_upgrade" in refused.output) == (1, True), refused.output
    assert one(restored.database_url, ROWS) == before
    of = settings(restored, name=name(2), slot=f"{restored.name}_2", partition="2/2")
    scripts = list(planning.plan(of, accept_gap=True))
    said = relay(restored, 2, 2, "setup", "--accept-gap")
    assert (said.code, "the stored position was replaced" in said.output) == (0, True), said.output
    assert [("vacant = false" in each, "INSERT INTO relay.checkpoint" in each) for each in scripts][-1] == (False, True)
    assert any("vacant = false" in each for each in scripts)
    assert one(restored.database_url, HERE) == [False, True]
    assert relay(restored, 2, 2, "setup").code == 0
    assert checked(relay(restored, 2, 2, "check", "--json"))["checkpoint.owner"]["status"] == "OK"


@pytest.mark.parametrize("number", [1, 2])
def test_a_relay_that_only_polls_its_partition_goes_on_as_the_remedy_says(number: int, restored: Isolated) -> None:
    """Partition 1/2 has a relay, 2/2 has none; the other one stays as it is."""
    before = one(restored.database_url, EPOCHS)
    variables = {"RELAY_SOURCE": "polling"}
    assert relay(restored, number, 2, "setup", **variables).code == 1
    of = settings(
        restored, source="polling", name=name(number), slot=f"{restored.name}_{number}", partition=f"{number}/2"
    )
    scripts = list(planning.plan(of, accept_gap=True))
    assert any("vacant = false" in each for each in scripts) is (number == 2)
    assert "snapshot = pg_current_snapshot()" in scripts[-1]
    said = relay(restored, number, 2, "setup", "--accept-gap", **variables)
    assert (said.code, "from now: the stored position was replaced" in said.output) == (0, True), said.output
    assert one(restored.database_url, HERE) == [number == 1, number == 2]
    assert one(restored.database_url, UNSEEN, name(number)) == 0
    changed = [1, 0] if number == 1 else [0, 2]  # to take a partition is a change too
    assert one(restored.database_url, EPOCHS) == [sum(each) for each in zip(before, changed, strict=True)]
    said = relay(restored, number, 2, "setup", "--accept-gap", **variables)
    assert (said.code, "there is no gap to accept" in said.output) == (1, True)
    assert relay(restored, number, 2, "setup", **variables).code == 0
    assert checked(relay(restored, number, 2, "check", "--json", **variables))["checkpoint.owner"]["status"] == "OK"


def statements(said: Said, copy: Isolated) -> str:
    """Return what a remedy says to run in the copy."""
    return said.output.partition(f"run in database '{copy.name}' ")[2].partition(" then run `relay setup`")[0]


@pytest.mark.parametrize("source", ["auto", "polling"])
def test_a_partition_of_a_copied_database_is_refused_and_the_remedy_works(source: str, isolated: Isolated) -> None:
    assert relay(isolated, 1, 2, "setup", RELAY_SOURCE=source).code == 0
    with copied(isolated) as copy:
        variables = {"RELAY_SOURCE": source, "RELAY_EXCHANGE": isolated.name}
        before = one(copy.database_url, ROWS)
        said = relay(copy, 2, 2, "setup", **variables)
        assert (said.code, "is a copy of it - set RELAY_NAME" in said.output) == (1, True), said.output
        for option in ("--dry-run", "--accept-gap", "--accept-upgrade"):
            assert relay(copy, 2, 2, "setup", option, **variables) == said
        assert one(copy.database_url, ROWS) == before
        with psycopg.connect(copy.database_url, autocommit=True) as connection:
            connection.execute(statements(said, copy).encode())
        assert one(copy.database_url, "SELECT count(*) FROM relay.checkpoint") == 0
        own = {"RELAY_NAME": "copy", "RELAY_SLOT": f"{copy.name}_own", **variables}
        assert relay(copy, 2, 2, "setup", **own).code == 0
        assert checked(relay(copy, 2, 2, "check", "--json", **own))["checkpoint.owner"]["status"] == "OK"
    assert relay(isolated, 2, 2, "setup", RELAY_SOURCE=source).code == 0, "the original is as it was"


@pytest.mark.parametrize("source", ["auto", "polling"])
def test_a_copied_outbox_of_which_each_partition_has_a_relay_is_left_as_the_remedies_say(
    source: str, isolated: Isolated
) -> None:
    for number in (1, 2):
        assert relay(isolated, number, 2, "setup").code == 0
    with copied(isolated) as copy:
        variables = {"RELAY_SOURCE": source, "RELAY_EXCHANGE": isolated.name}
        before = one(copy.database_url, ROWS)
        as_before = relay(copy, 1, 2, "setup", RELAY_SLOT=f"{isolated.name}_1", **variables)
        assert (as_before.code, "set RELAY_NAME and RELAY_SLOT to other names" in as_before.output) == (1, True)
        own = {"RELAY_NAME": "own1", "RELAY_SLOT": f"{copy.name}_own1", **variables}
        said = relay(copy, 1, 2, "setup", **own)
        assert (said.code, "is a copy of it - set RELAY_NAME" in said.output) == (1, True), said.output
        for option in ("--dry-run", "--accept-gap", "--accept-upgrade"):
            assert relay(copy, 1, 2, "setup", option, **own) == said
        as_whole = call(environment(copy, **own), "setup")
        assert statements(as_whole, copy) == statements(said, copy)
        assert one(copy.database_url, ROWS) == before
        with psycopg.connect(copy.database_url, autocommit=True) as connection:
            connection.execute(statements(said, copy).encode())
        assert relay(copy, 1, 2, "setup", **own).code == 0
        assert checked(relay(copy, 1, 2, "check", "--json", **own))["checkpoint.owner"]["status"] == "OK"
        second = {"RELAY_NAME": "own2", "RELAY_SLOT": f"{copy.name}_own2", **variables}
        assert relay(copy, 2, 2, "setup", **second).code == 0
    assert relay(isolated, 1, 2, "setup").code == 0, "the original is as it was"


@pytest.mark.parametrize("source", ["auto", "polling"])
@pytest.mark.parametrize("options", [(), ("--accept-gap",), ("--accept-upgrade",), ("--dry-run",)])
def test_a_position_of_a_copied_database_is_not_replaced_under_its_old_name(
    source: str, options: tuple[str, ...], isolated: Isolated
) -> None:
    for number in (1, 2):
        assert relay(isolated, number, 2, "setup").code == 0
    with copied(isolated) as copy:
        before = one(copy.database_url, ROWS)
        said = relay(copy, 1, 2, "setup", *options, RELAY_SOURCE=source, RELAY_EXCHANGE=isolated.name)
        assert (said.code, "is a copy of it - set RELAY_NAME" in said.output) == (1, True), said.output
        assert (one(copy.database_url, ROWS), one(copy.database_url, SLOTS)) == (before, 0)


@pytest.mark.parametrize("beside", [False, True])
def test_the_outbox_of_a_copied_database_can_be_divided_as_the_remedies_say(ready: Isolated, *, beside: bool) -> None:
    with copied(ready) as copy:
        variables = {"RELAY_EXCHANGE": ready.name}
        said = relay(copy, 1, 2, "setup", **variables)
        assert (said.code, "is a copy of it - set RELAY_NAME" in said.output) == (1, True), said.output
        assert relay(copy, 1, 2, "setup", "--take-over", "relay", **variables) == said
        own = {"RELAY_NAME": "all", **variables}
        if beside:
            assert call(environment(copy, **own), "setup").code == 0, "a relay of all events needs names only"
        with psycopg.connect(copy.database_url, autocommit=True) as connection:
            connection.execute(statements(said, copy).encode())
        left = one(copy.database_url, "SELECT coalesce(array_agg(name), '{}') FROM relay.checkpoint")
        assert left == (["all"] if beside else [])
        assert relay(copy, 1, 2, "setup", *(("--take-over", "all") if beside else ()), **variables).code == 0
        assert relay(copy, 2, 2, "setup", **variables).code == 0
    assert call(environment(ready), "setup").code == 0, "the original is as it was"


@pytest.mark.parametrize("source", ["auto", "polling"])
def test_a_slot_that_nobody_has_noted_is_not_taken_after_pg_upgrade_either(source: str, isolated: Isolated) -> None:
    assert relay(isolated, 1, 2, "setup").code == 0
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(ELSEWHERE)
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [f"{isolated.name}_2"])
    before = one(isolated.database_url, ROWS)
    accept = ("setup", "--accept-upgrade")
    if source == "auto":
        for options in ((), ("--dry-run",)):
            said = relay(isolated, 2, 2, *accept, *options)
            assert (said.code, "exists, and no relay has noted it" in said.output) == (1, True), said.output
        assert one(isolated.database_url, ROWS) == before
        assert relay(isolated, 2, 2, "slot", "drop", "--yes").code == 0
    said = relay(isolated, 2, 2, *accept, RELAY_SOURCE=source)
    assert said.code == 0, said.output
    assert ("makes a new slot" in said.output) is (source == "auto")


@pytest.mark.parametrize("number", [1, 2])
def test_the_sql_of_a_dry_run_accepts_an_upgrade(number: int, isolated: Isolated) -> None:
    """Partition 1/2 has a relay, 2/2 has none."""
    assert relay(isolated, 1, 2, "setup").code == 0
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(ELSEWHERE)
        before = one(isolated.database_url, EPOCHS)
        of = settings(isolated, name=name(number), slot=f"{isolated.name}_{number}", partition=f"{number}/2")
        scripts = list(planning.plan(of, accept_gap=False, extras=Extras(accept_upgrade=True)))
        assert (one(isolated.database_url, EPOCHS), scripts[-1]) == (before, THEN)
        for script in scripts:
            connection.execute(script.encode())
    assert one(isolated.database_url, HERE) == [number == 1, True]
    said = relay(isolated, number, 2, "setup", "--accept-upgrade", "--dry-run")
    assert (said.code, THEN in said.output) == (0, False), said.output
    assert "of this server already" in relay(isolated, number, 2, "setup", "--accept-upgrade").output


def test_a_partition_without_a_relay_goes_on_after_pg_upgrade(isolated: Isolated) -> None:
    assert relay(isolated, 1, 2, "setup").code == 0
    publish(isolated.database_url, *map(str, range(10)))
    begins = one(isolated.database_url, BEGINS)
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(ELSEWHERE)
    said = relay(isolated, 2, 2, "setup")
    assert (said.code, "run `relay setup --accept-upgrade`" in said.output) == (1, True), said.output
    said = relay(isolated, 2, 2, "setup", "--accept-upgrade")
    assert said.code == 0, said.output
    assert one(isolated.database_url, HERE) == [False, True]
    assert one(isolated.database_url, BEGINS) == begins
    assert relay(isolated, 2, 2, "setup").code == 0
