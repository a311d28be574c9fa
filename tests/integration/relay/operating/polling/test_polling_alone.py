"""RELAY_SOURCE=polling on a server without logical decoding, by a role that may neither stream nor create anything."""

from typing import Any

import psycopg
import pytest

from sandbox.machine.waiting import until
from tests.integration.relay.operating.polling.poller import Poller
from tests.integration.relay.stage import one, publish
from tests.support.stage import Stage

NEEDED_BY_A_STREAM = (
    *("postgres.replication", "postgres.wal_level", "postgres.free_slots", "postgres.free_senders"),
    *("postgres.plugin_works", "postgres.long_transactions", "role.replication", "slot.exists", "slot.wal_status"),
)


def test_the_role_has_neither_replication_nor_create(poller: Poller) -> None:
    """So what the other tests of this file show, they show for such a role."""
    with psycopg.connect(poller.isolated.database_url) as connection:
        row = connection.execute(
            "SELECT rolreplication OR rolsuper, has_database_privilege(current_database(), 'CREATE'),"
            " current_setting('wal_level') FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, False, "replica")


def test_what_is_committed_is_published_over_a_kill(poller: Poller, polling: Stage) -> None:
    tap = polling.set_up()
    assert polling.run("relay", "setup").process.returncode == 0, "setup is safe to repeat"
    events = publish(poller.owner.database_url, "a", "b")
    relay = polling.start("relay", "run")
    assert relay.logged("streaming", seconds=90)["source"] == "polling"
    tap.grows(1)
    relay.kill()
    events += publish(poller.owner.database_url, "c")
    relay = polling.start("relay", "run")
    relay.logged("streaming", seconds=90)
    events += publish(poller.owner.database_url, "d")
    published: list[str] = []

    def all_there() -> bool:
        if tap.waiting():
            published.extend(delivery.message for delivery in tap.drain())
        return set(published) >= set(events)

    until(all_there, what="everything is published", seconds=30)
    assert relay.terminate() == 0, relay.tail()
    assert set(published) == set(events)
    assert len(published) <= len(events) + 2, "only what was not stored before the kill comes again"


def test_check_asks_for_nothing_that_polling_does_not_need(poller: Poller) -> None:
    assert poller.call("setup").code == 0
    said = poller.call("check", "--json")
    assert said.code == 0, said.output
    findings = {each["id"]: each for each in said.json["checks"]}
    for identity in NEEDED_BY_A_STREAM:
        assert findings[identity]["status"] == "OK", findings[identity]
        assert findings[identity]["summary"] == "not needed: RELAY_SOURCE is polling"
    warned = {each for each, finding in findings.items() if finding["status"] == "WARN"}
    assert warned == set()


def test_the_same_settings_without_polling_are_refused(poller: Poller) -> None:
    """A control: the server is one that the other source cannot read."""
    said = poller.call("setup", RELAY_SOURCE="wal")
    assert said.code == 1
    assert (
        said.output == "wal_level is replica, not logical - ALTER SYSTEM SET wal_level = logical, then restart Postgres"
    )


def test_status_says_what_is_read_and_what_is_left(poller: Poller, polling: Stage) -> None:
    assert poller.call("setup").code == 0
    publish(poller.owner.database_url, "a", "b", "c")
    before = poller.call("status", "--json")
    assert before.code == 3
    assert before.json["backlog"]["events"] == 3
    assert before.json["last_error"] == "this relay is not active"
    tap = polling.set_up()
    relay = polling.start("relay", "run")
    relay.logged("streaming", seconds=90)
    tap.grows(2)
    after = poller.call("status", "--json").json
    assert after["mode"] == "polling"
    assert after["why"] == "RELAY_SOURCE is polling"
    assert after["switch_waits_for"] is None
    assert relay.terminate() == 0
    stored = one(poller.owner.database_url, "SELECT snapshot::text FROM relay.checkpoint WHERE name = 'relay'")
    stopped = poller.call("status", "--json").json
    assert (stopped["mode"], stopped["stored_mode"], stopped["snapshot"]) == ("none", "polling", stored)
    assert stopped["backlog"]["events"] == 0
    assert "RELAY_SOURCE is polling" in poller.call("status").output


def test_tail_prints_what_is_not_published_without_moving_anything(poller: Poller) -> None:
    assert poller.call("setup").code == 0
    events = publish(poller.owner.database_url, "a", "b")
    stored = "SELECT snapshot::text || epoch FROM relay.checkpoint WHERE name = 'relay'"
    before = one(poller.owner.database_url, stored)
    said = poller.call("tail", "--count", "2")
    assert said.code == 0
    assert all(event in said.output for event in events)
    assert one(poller.owner.database_url, stored) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["slot", "show"], "none is needed: RELAY_SOURCE is polling"),
        (["slot", "create"], "set RELAY_SOURCE=auto or wal"),
        (["slot", "skip"], "delete the row from the outbox table"),
    ],
)
def test_the_commands_about_a_slot_say_that_there_is_none(poller: Poller, arguments: list[str], says: str) -> None:
    assert poller.call("setup").code == 0
    said = poller.call(*arguments)
    assert said.code == 1
    assert says in said.output


def test_a_slot_that_is_not_there_is_dropped_without_an_error(poller: Poller) -> None:
    assert poller.call("slot", "drop", "--yes").code == 0


def test_setup_says_first_what_it_would_run(poller: Poller) -> None:
    said = poller.call("setup", "--dry-run")
    assert said.code == 0
    assert "INSERT INTO relay.checkpoint" in said.output
    assert "pg_create_logical_replication_slot" not in said.output
    assert one(poller.owner.database_url, "SELECT count(*) FROM relay.checkpoint") == 0


WRONG = (
    ("polling.tx_index", "WARN", "DROP INDEX outbox.event_tx"),
    ("polling.tx_default", "FAIL", "ALTER TABLE outbox.event ALTER COLUMN tx DROP DEFAULT"),
    ("polling.tx_writers", "WARN", "GRANT INSERT ON outbox.event TO outbox_writer"),
    (
        "polling.row_security",
        "FAIL",
        "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY",
    ),
)


@pytest.mark.parametrize(("identity", "status", "statement"), WRONG, ids=[each[0] for each in WRONG])
def test_what_polling_needs_is_checked_and_the_remedy_works(
    poller: Poller, identity: str, status: str, statement: str
) -> None:
    assert poller.call("setup").code == 0
    assert _finding(poller, identity)["status"] == "OK"
    with psycopg.connect(poller.owner.database_url, autocommit=True) as connection:
        connection.execute(statement.encode())
        found = _finding(poller, identity)
        assert found["status"] == status, found
        remedy = found["remedy"]
        if "--add-tx-column" in remedy:
            owner = {"RELAY_DATABASE_URL": poller.owner.database_url}
            assert poller.call("setup", "--add-tx-column", **owner).code == 0
        else:
            connection.execute(
                remedy.removeprefix("as a superuser: ").partition("; or, as the table's owner: ")[0].encode()
            )
    assert _finding(poller, identity)["status"] == "OK"
    poller.as_owner("ALTER ROLE outbox_poller NOBYPASSRLS")


def test_an_unlogged_outbox_is_refused_by_setup_and_check(poller: Poller) -> None:
    poller.as_owner("CREATE UNLOGGED TABLE public.mine (LIKE outbox.event INCLUDING ALL)")
    poller.as_owner("GRANT SELECT ON public.mine TO outbox_poller")
    says = 'a crash removes them - ALTER TABLE "public"."mine" SET LOGGED'
    said = poller.call("setup", RELAY_OUTBOX_TABLE="public.mine")
    assert said.code == 1
    assert says in said.output
    found = _finding(poller, "polling.table", RELAY_OUTBOX_TABLE="public.mine")
    assert (found["status"], found["remedy"]) == ("FAIL", 'ALTER TABLE "public"."mine" SET LOGGED')
    poller.as_owner('ALTER TABLE "public"."mine" SET LOGGED')
    assert poller.call("setup", RELAY_OUTBOX_TABLE="public.mine").code == 0


def test_the_trigger_is_made_once_by_the_owner_and_left_alone_by_the_relay(poller: Poller) -> None:
    assert poller.call("setup").code == 0
    assert _finding(poller, "polling.notify", RELAY_POLL_NOTIFY="on")["status"] == "WARN"
    owner = {"RELAY_DATABASE_URL": poller.owner.database_url}
    first = poller.call("setup", "--notify", **owner)
    assert "trigger: relay_notify on outbox.event created" in first.output
    oid = one(poller.owner.database_url, "SELECT oid FROM pg_trigger WHERE tgname = 'relay_notify' AND tgparentid = 0")
    again = poller.call("setup", "--notify")
    assert again.code == 0, again.output
    assert "trigger: relay_notify on outbox.event exists" in again.output
    same = one(poller.owner.database_url, "SELECT oid FROM pg_trigger WHERE tgname = 'relay_notify' AND tgparentid = 0")
    assert same == oid
    assert _finding(poller, "polling.notify", RELAY_POLL_NOTIFY="on")["status"] == "OK"


def _finding(poller: Poller, identity: str, **changes: str) -> dict[str, Any]:
    checks: list[dict[str, Any]] = poller.call("check", "--json", **changes).json["checks"]
    (found,) = (each for each in checks if each["id"] == identity)
    return found
