"""`relay setup` of relays that share an outbox: where they begin, and what does not fit."""

from typing import LiteralString

import psycopg
import pytest

from relay.operating.setup import planning
from sandbox import Isolated
from tests.integration.relay.operating.partitions.stage import BEGINS, ROWS, SLOTS, checked, relay
from tests.integration.relay.stage import call, environment, one, publish, settings
from tests.support.partitions import name


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
