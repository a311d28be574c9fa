"""`relay setup` and `relay check` where the WAL cannot be read: they judge as `relay run`, which polls the table."""

import psycopg

from sandbox import Isolated
from tests.integration.relay.operating.polling.poller import Poller
from tests.integration.relay.operating.setup import shop
from tests.integration.relay.stage import call, environment, one, publish

SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
PLUGIN = "SELECT plugin FROM pg_replication_slots WHERE slot_name = %s"
POSITION = "SELECT (slot, mode, snapshot)::text FROM relay.checkpoint"


def findings(variables: dict[str, str]) -> dict[str, dict[str, str]]:
    return {each["id"]: each for each in call(variables, "check", "--json").json["checks"]}


def test_a_first_start_names_both_ways_where_wal_level_is_replica(poller: Poller) -> None:
    for arguments in (["setup"], ["setup", "--dry-run"]):
        said = poller.call(*arguments, RELAY_SOURCE="auto")
        assert said.code == 1
        assert "ALTER SYSTEM SET wal_level = logical" in said.output
        assert "or set RELAY_SOURCE=polling" in said.output
    assert poller.call("setup", RELAY_SOURCE="polling").code == 0


def test_a_table_that_cannot_be_polled_is_not_told_to_be(poller: Poller) -> None:
    shop.create(poller.owner)
    variables = environment(poller.owner, **shop.settings())
    said = call(variables, "setup")
    assert said.code == 1
    assert "RELAY_SOURCE=polling" not in said.output
    assert "RELAY_SOURCE=polling" in call(variables, "setup", "--dry-run", "--add-tx-column").output


def test_a_relay_that_polls_can_be_set_up_again_and_no_check_fails(poller: Poller) -> None:
    """Its role has no REPLICATION, and its server no slots: `relay run` polls with the same settings."""
    assert poller.call("setup", RELAY_SOURCE="polling").code == 0
    for arguments in (["setup"], ["setup", "--dry-run"]):
        said = poller.call(*arguments, RELAY_SOURCE="auto")
        assert said.code == 0, said.output
        assert "the relay polls outbox.event from the stored position until the WAL can be read" in said.output
        assert "wal_level is replica" in said.output
    assert poller.call("setup", RELAY_SOURCE="wal").code == 1, "a control: it cannot poll"

    found = findings(poller.variables(RELAY_SOURCE="auto"))
    assert {each for each, finding in found.items() if finding["status"] == "FAIL"} == set()
    for identity in ("postgres.wal_level", "postgres.replication", "role.replication", "slot.exists"):
        assert found[identity]["status"] == "WARN"
        assert "the relay polls the table meanwhile" in found[identity]["summary"]
        assert "goes back to the WAL by itself" in found[identity]["remedy"]
    assert findings(poller.variables(RELAY_SOURCE="wal"))["slot.exists"]["status"] == "FAIL"


def foreign(isolated: Isolated) -> str:
    """Set up a relay, put a slot of another plugin in the place of its own, and commit an event; return its id."""
    assert call(environment(isolated), "setup").code == 0
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [isolated.name])
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [isolated.name])
    (event,) = publish(isolated.database_url, "written meanwhile")
    return event


def polled(isolated: Isolated, event: str) -> bool:
    """Return whether a poll from the stored position has the event."""
    query = (
        "SELECT NOT pg_visible_in_snapshot(e.tx, c.snapshot) FROM outbox.event AS e, relay.checkpoint AS c"
        " WHERE e.id::text = %s"
    )
    return bool(one(isolated.database_url, query, event))


def test_a_slot_of_another_plugin_is_dropped_and_nothing_is_passed_over(isolated: Isolated) -> None:
    event = foreign(isolated)
    before = one(isolated.database_url, POSITION)
    said = call(environment(isolated), "setup")
    assert said.code == 0
    assert "was made with test_decoding" in said.output
    assert "run `relay slot drop`, then `relay setup`" in said.output
    purpose = findings(environment(isolated))["slot.purpose"]
    assert purpose["status"] == "WARN"
    assert purpose["remedy"].startswith("if nobody else uses the slot, run `relay slot drop`, then `relay setup`")

    assert call(environment(isolated), "slot", "drop", "--yes").code == 0
    assert call(environment(isolated), "setup").code == 0
    assert one(isolated.database_url, PLUGIN, isolated.name) == "wal2json"
    assert one(isolated.database_url, POSITION) == before
    assert polled(isolated, event)


def test_a_slot_that_somebody_else_uses_is_left_to_them_and_nothing_is_passed_over(isolated: Isolated) -> None:
    event = foreign(isolated)
    remedy = call(environment(isolated, RELAY_SOURCE="wal"), "setup").output
    statement = remedy.partition("run UPDATE")[2].partition(", set RELAY_SLOT")[0]
    name = f"{isolated.name}_2"
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(f"UPDATE{statement}".replace("'new'", f"'{name}'").encode())
    try:
        assert call(environment(isolated, RELAY_SLOT=name), "setup").code == 0
        assert one(isolated.database_url, PLUGIN, name) == "wal2json"
        assert one(isolated.database_url, PLUGIN, isolated.name) == "test_decoding"
        assert polled(isolated, event)
    finally:
        call(environment(isolated, RELAY_SLOT=name), "slot", "drop", "--yes")


def test_a_shared_table_without_a_unique_id_is_refused_by_setup_and_the_remedy_works(isolated: Isolated) -> None:
    shop.create(isolated)
    shared = shop.variables(isolated, RELAY_SOURCE="polling", RELAY_POLL_STRATEGY="skip_locked")
    for arguments in (["setup"], ["setup", "--dry-run"]):
        said = call(shared, *arguments)
        assert said.code == 1
        assert "no unique index of shop.outbox has 'id'" in said.output
    found = findings(shared)["polling.table"]
    assert found["status"] == "FAIL"
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(found["remedy"].encode())
    assert call(shared, "setup").code == 0
    assert {each["status"] for id_, each in findings(shared).items() if id_.startswith("polling.tx_d")} == {"OK"}
    assert findings(shared)["polling.table"]["status"] == "OK"


def test_a_partitioned_table_is_told_the_way_that_it_has(isolated: Isolated) -> None:
    shop.create(isolated, tail="PARTITION BY RANGE (number)")
    shared = shop.variables(isolated, RELAY_SOURCE="polling", RELAY_POLL_STRATEGY="skip_locked")
    said = call(shared, "setup")
    assert said.code == 1
    assert "set RELAY_POLL_STRATEGY=snapshot, which needs no such index, then run `relay setup --add-tx-column`" in (
        said.output
    )
    assert call(shared | {"RELAY_POLL_STRATEGY": "snapshot"}, "setup", "--add-tx-column").code == 0


def test_a_missing_right_is_named_by_what_was_done(poller: Poller) -> None:
    assert poller.call("setup").code == 0
    said = poller.call("setup", "--notify")
    assert said.code == 1
    assert "run it as the owner of the schemas relay and outbox and of the outbox table" in said.output
    assert "outbox_operator" not in said.output
    assert "output_plugin_libraries" not in said.output
    redriven = poller.call("parked", "redrive", "--all")
    assert "output_plugin_libraries" not in redriven.output


def test_what_the_owner_of_a_database_has_is_not_to_be_taken_from_it(poller: Poller) -> None:
    name = poller.owner.name
    poller.as_owner("ALTER DATABASE {} OWNER TO outbox_poller", name)
    try:
        found = findings(poller.variables())["role.excess"]
        assert f"ownership of database {name}" in found["summary"]
        assert "pg_database_owner" not in found["summary"]
        assert found["remedy"].startswith("run the relay as a role of its own")
        assert "REVOKE" not in found["remedy"]
    finally:
        poller.as_owner("ALTER DATABASE {} OWNER TO postgres", name)
