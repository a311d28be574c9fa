"""`relay setup` of a partition after a dump and restore, and after pg_upgrade: the position is of another server."""

from typing import LiteralString

import psycopg
import pytest

from relay.operating.setup import planning
from relay.operating.setup.extra import Extras
from sandbox import Isolated
from tests.integration.relay.operating.partitions.stage import BEGINS, ROWS, SLOTS, checked, relay
from tests.integration.relay.stage import one, publish, settings
from tests.support.partitions import name

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
