"""The checks of Postgres: each judges facts, and a fact that is wrong has a remedy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from outboxkit.checks.finding import Check, Status, Unknown, Verdict, judged, reached
from outboxkit.errors import Problem
from relay.operating.check.judging.postgres import connection, limits, plugin, role, server, transactions
from relay.operating.check.judging.postgres.connection import PostgresConnection
from relay.operating.check.judging.postgres.role import Role
from relay.operating.check.judging.postgres.server import Probe, Server
from relay.operating.check.judging.relay import outbox, position, slot
from relay.operating.check.judging.relay.outbox import Outbox, Schema
from relay.operating.check.judging.relay.slot import RelaySlot
from relay.operating.check.run import SERVER_CHECKS
from relay.sources.layout import layout
from relay.storage.facts import Facts, TableFacts
from relay.storage.slots.obstacles import Obstacle
from tests.support.examples import FACTS, OWNER
from tests.unit.relay.operating.check.judging.check_facts import (
    HELD,
    OUTBOX,
    PUBLICATION,
    PUBLISHED,
    RELAY_SLOT,
    ROLE,
    SERVER,
    TABLE,
    probed,
    with_settings,
    with_slot,
)

OPEN = Obstacle(7, None, "shop", "alice", "psql", "idle in transaction", None, 90.0, waits=False)


REFUSED = Probe("wal2json", "42501", "library may not be used")
ABSENT = Probe("wal2json", "58P01", "no such file")
BLOCKED = Probe("wal2json", "57014", "canceled")


@pytest.mark.parametrize("check", SERVER_CHECKS, ids=lambda check: check.id)
def test_a_ready_server_passes(check: Check[Server]) -> None:
    assert check.judge(SERVER).status is Status.OK


@pytest.mark.parametrize(
    ("judge", "facts", "status", "says"),
    [
        (server.version, replace(SERVER, version_number=130022), "FAIL", "too old"),
        (server.version, replace(SERVER, version_number=180006), "OK", ""),
        (server.version, replace(SERVER, version_number=210000), "WARN", "newer"),
        (server.primary, replace(SERVER, in_recovery=True), "FAIL", "standby"),
        (server.encoding, replace(SERVER, encoding="LATIN1"), "FAIL", "LATIN1"),
        (server.wal_level, with_settings(wal_level="replica"), "FAIL", "not logical"),
        (server.wal_level, with_settings(wal_level="replica", effective_wal_level="logical"), "OK", "effectively"),
        (
            server.wal_level,
            with_settings(wal_level="replica", effective_wal_level="replica"),
            "OK",
            "first logical slot",
        ),
        (server.wal_level, with_settings(wal_level="minimal", effective_wal_level="minimal"), "FAIL", "minimal"),
        (plugin.plugin_listed, with_settings(output_plugin_libraries="pgoutput, test_decoding, wal2json"), "OK", ""),
        (
            plugin.plugin_listed,
            with_settings(output_plugin_libraries="pgoutput, test_decoding"),
            "WARN",
            "uses pgoutput",
        ),
        (
            plugin.plugin_listed,
            with_settings(output_plugin_libraries="test_decoding"),
            "FAIL",
            "does not list wal2json",
        ),
        (
            plugin.plugin_listed,
            replace(with_settings(output_plugin_libraries="pgoutput"), wanted="wal2json"),
            "FAIL",
            "does not list wal2json",
        ),
        (plugin.plugin_works, probed(REFUSED), "FAIL", "may not be used"),
        (plugin.plugin_works, probed(ABSENT, wanted="wal2json"), "FAIL", "no such file"),
        (plugin.plugin_works, probed(ABSENT, Probe("pgoutput", None)), "WARN", "uses pgoutput"),
        (plugin.plugin_works, probed(BLOCKED), "OK", "installed"),
        (plugin.plugin_works, probed(Probe("wal2json", "53400", "all are in use")), "UNKNOWN", "could not be tried"),
        (plugin.plugin_works, probed(), "UNKNOWN", "was not tried"),
        (limits.free_slots, replace(SERVER, slots=10), "WARN", "tail"),
        (limits.free_slots, replace(SERVER, slots=10, slot_exists=False), "FAIL", "all 10"),
        (limits.free_senders, replace(SERVER, senders=10), "FAIL", "all 10"),
        (limits.free_senders, replace(SERVER, senders=10, slot_held=True), "WARN", "take over"),
        (limits.slot_wal_limit, with_settings(max_slot_wal_keep_size="-1"), "WARN", "unlimited"),
        (limits.idle_slot_timeout, with_settings(idle_replication_slot_timeout="0"), "OK", "is kept"),
        (limits.idle_slot_timeout, with_settings(idle_replication_slot_timeout="3600"), "WARN", "3600 s"),
        (limits.sender_timeout, with_settings(wal_sender_timeout="0"), "WARN", "is off"),
        (limits.sender_timeout, with_settings(wal_sender_timeout="3600000"), "WARN", "3600 s"),
        (
            transactions.long_transactions,
            replace(SERVER, transactions=[OPEN]),
            "WARN",
            "pid 7 (user alice, database shop, application 'psql', idle in transaction)",
        ),
        (transactions.long_transactions, replace(SERVER, transactions=[replace(OPEN, seconds=1.0)]), "OK", ""),
        (transactions.long_transactions, replace(SERVER, transactions=[replace(OPEN, seconds=None)]), "OK", ""),
        (transactions.long_transactions, probed(transactions=[replace(OPEN, seconds=None)]), "UNKNOWN", "age"),
        (transactions.long_transactions, probed(REFUSED, transactions=[replace(OPEN, seconds=None)]), "UNKNOWN", "age"),
        (transactions.long_transactions, probed(transactions=[replace(OPEN, seconds=1.0)]), "OK", ""),
        (
            transactions.long_transactions,
            probed(BLOCKED, transactions=[replace(OPEN, seconds=None)], slot_exists=False),
            "FAIL",
            "pid 7 (user alice, database shop",
        ),
        (
            transactions.long_transactions,
            replace(SERVER, transactions=[replace(OPEN, pid=None, prepared="gid")]),
            "WARN",
            "prepared transaction 'gid'",
        ),
    ],
)
def test_what_is_wrong_with_a_server_is_found(
    judge: Callable[[Server], Verdict], facts: Server, status: str, says: str
) -> None:
    verdict = judge(facts)
    assert verdict.status == status
    assert says in verdict.summary
    assert bool(verdict.remedy) == (status != "OK")


def test_a_plugin_that_is_not_listed_is_added_as_an_item_of_its_own() -> None:
    """One quoted text with commas in it is one item, and still refuses."""
    verdict = plugin.plugin_listed(replace(with_settings(output_plugin_libraries="pgoutput"), wanted="wal2json"))
    assert "ALTER SYSTEM SET output_plugin_libraries = pgoutput, wal2json;" in verdict.remedy
    quoted = plugin.plugin_listed(with_settings(output_plugin_libraries='"pgoutput, test_decoding, wal2json"'))
    assert quoted.status is Status.FAIL


CONNECTION = PostgresConnection(["127.0.0.1"], "prefer", encrypted=False, client_pid=1, server_pid=1)


@pytest.mark.parametrize(
    ("judge", "facts", "status"),
    [
        (connection.tls, CONNECTION, "OK"),
        (connection.tls, replace(CONNECTION, hosts=["/var/run/postgresql"]), "OK"),
        (connection.tls, replace(CONNECTION, hosts=["localhost", "db.example"]), "WARN"),
        (connection.tls, replace(CONNECTION, hosts=["db.example"], encrypted=True, sslmode="require"), "WARN"),
        (connection.tls, replace(CONNECTION, hosts=["db.example"], encrypted=True, sslmode="verify-full"), "OK"),
        (connection.pooler, CONNECTION, "OK"),
        (connection.pooler, replace(CONNECTION, client_pid=1_668_916_595), "WARN"),
    ],
)
def test_a_connection_is_judged_by_its_encryption_and_its_pid(
    judge: Callable[[PostgresConnection], Verdict], facts: PostgresConnection, status: str
) -> None:
    assert judge(facts).status == status


@pytest.mark.parametrize("check", role.CHECKS, ids=lambda check: check.id)
def test_a_role_with_exactly_its_rights_passes(check: Check[Role]) -> None:
    assert check.judge(ROLE).status is Status.OK


@pytest.mark.parametrize(
    ("judge", "facts", "status", "says"),
    [
        (role.replication, replace(ROLE, replication=False, streams=False), "FAIL", "lacks REPLICATION"),
        (role.replication, replace(ROLE, replication=False), "OK", "instead of REPLICATION"),
        (role.replication, replace(ROLE, replication=False, superuser=True), "OK", ""),
        (role.privileges, replace(ROLE, privileges=[replace(HELD, held=False)]), "FAIL", "UPDATE on relay.checkpoint"),
        (role.privileges, replace(ROLE, privileges=[replace(HELD, held=None)]), "UNKNOWN", "relay.checkpoint"),
        (role.excess, replace(ROLE, superuser=True), "WARN", "SUPERUSER"),
        (role.excess, replace(ROLE, create_role=True, create_database=True), "WARN", "CREATEROLE, CREATEDB"),
        (role.excess, replace(ROLE, bypass_rls=True), "WARN", "BYPASSRLS"),
        (role.excess, replace(ROLE, member_of=["pg_read_server_files"]), "WARN", "membership in pg_read_server_files"),
        (role.excess, replace(ROLE, excess=["DELETE on outbox.event"]), "WARN", "DELETE on outbox.event"),
        (role.connection_limit, replace(ROLE, connection_limit=10), "WARN", "10 sessions"),
        (role.connection_limit, replace(ROLE, connection_limit=-1), "OK", ""),
    ],
)
def test_what_is_wrong_with_a_role_is_found(
    judge: Callable[[Role], Verdict], facts: Role, status: str, says: str
) -> None:
    verdict = judge(facts)
    assert verdict.status == status
    assert says in verdict.summary


def test_the_remedy_for_missing_privileges_is_the_grants_themselves() -> None:
    missing = [replace(each, held=False) for each in ROLE.privileges]
    remedy = role.privileges(replace(ROLE, privileges=missing)).remedy
    assert (
        remedy
        == 'GRANT UPDATE ON "relay"."checkpoint" TO "outbox_relay"; GRANT USAGE ON SCHEMA relay TO "outbox_relay"'
    )


@pytest.mark.parametrize("check", slot.CHECKS, ids=lambda check: check.id)
def test_a_sound_slot_passes(check: Check[RelaySlot]) -> None:
    assert check.judge(RELAY_SLOT).status is Status.OK


@pytest.mark.parametrize(
    ("identity", "facts", "status"),
    [
        ("slot.exists", replace(RELAY_SLOT, slot=None), "FAIL"),
        ("slot.wal_status", replace(RELAY_SLOT, slot=None), "UNKNOWN"),
        ("slot.purpose", with_slot(plugin="test_decoding"), "FAIL"),
        ("slot.purpose", with_slot(database="other"), "FAIL"),
        ("slot.purpose", replace(RELAY_SLOT, plugin="pgoutput"), "FAIL"),
        ("slot.holder", with_slot(holder_pid=7, holder_name="relay"), "OK"),
        ("slot.wal_status", with_slot(wal_status="extended"), "WARN"),
        ("slot.wal_status", with_slot(wal_status="unreserved"), "FAIL"),
        ("slot.wal_status", with_slot(wal_status="lost"), "FAIL"),
        ("slot.wal_status", with_slot(invalidation_reason="idle_timeout"), "FAIL"),
        ("slot.safe_wal_size", with_slot(safe_wal_size=None, limit=None), "OK"),
        ("slot.safe_wal_size", with_slot(safe_wal_size=1 << 20), "WARN"),
        ("slot.safe_wal_size", with_slot(safe_wal_size=-5), "FAIL"),
        ("slot.safe_wal_size", with_slot(wal_status="lost", safe_wal_size=None), "FAIL"),
        ("slot.retained_wal", with_slot(retained_bytes=(1 << 29) + 1), "WARN"),
        ("slot.retained_wal", with_slot(retained_bytes=(1 << 29) + 1, limit=None), "OK"),
        ("slot.retained_wal", with_slot(retained_bytes=1 << 40, limit=None), "WARN"),
        ("slot.retained_wal", with_slot(retained_bytes=None), "UNKNOWN"),
        ("slot.failover", with_slot(failover=False), "OK"),
        ("slot.failover", replace(with_slot(failover=None), copied=True), "UNKNOWN"),
        ("slot.failover", replace(with_slot(failover=False), copied=True, waits_for="standby"), "FAIL"),
        ("slot.failover", replace(with_slot(failover=True), copied=True, waits_for=""), "WARN"),
        ("slot.failover", replace(with_slot(failover=True), copied=True, waits_for="standby"), "OK"),
    ],
)
def test_what_is_wrong_with_a_slot_is_found(identity: str, facts: RelaySlot, status: str) -> None:
    (check,) = (check for check in slot.CHECKS if check.id == identity)
    assert check.judge(facts).status == status


@pytest.mark.parametrize(
    ("facts", "status", "says"),
    [
        (FACTS, "OK", "after 0/18"),
        (replace(FACTS, wal_end="0/17"), "FAIL", "ahead"),
        (replace(FACTS, checkpoint_lsn=None, checkpoint_mode=None), "FAIL", "no stored position"),
        (replace(FACTS, checkpoint_lsn=None), "FAIL", "has not streamed"),
        (replace(FACTS, slot=None), "FAIL", "no slot has"),
        (replace(FACTS, wal_status="lost"), "FAIL", "no slot has"),
        (replace(FACTS, confirmed_flush_lsn="0/19"), "FAIL", "moved or made again"),
    ],
)
def test_the_stored_position(facts: Facts, status: str, says: str) -> None:
    verdict = position.position(position.Position(facts, OWNER))
    assert verdict.status == status
    assert says in verdict.summary


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({}, "OK", "after 0/18"),
        ({"checkpoint_mode": "polling", "checkpoint_lsn": None}, "OK", "polls what snapshot 700:700: does not see"),
        ({"checkpoint_mode": "polling", "slot": None}, "OK", "polls"),
        ({"slot": None}, "WARN", "does not exist; the relay polls"),
        ({"wal_status": "lost"}, "WARN", "is lost"),
        ({"confirmed_flush_lsn": "0/19"}, "WARN", "moved or made again"),
        ({"wal_end": "0/17"}, "FAIL", "ahead"),
        ({"checkpoint_snapshot": None, "slot": None}, "FAIL", "no slot has"),
        ({"checkpoint_mode": "polling", "checkpoint_lsn": None, "slot_database": "d1"}, "FAIL", ""),
    ],
)
def test_a_position_that_is_polled_from_needs_no_slot(changes: dict[str, Any], status: str, says: str) -> None:
    facts = replace(FACTS, **{"checkpoint_snapshot": "700:700:", **changes})
    verdict = position.position(position.Position(facts, OWNER, pollable=True))
    assert (verdict.status, says in verdict.summary) == (status, True)


def test_whose_a_slot_is_comes_before_where_the_relay_starts() -> None:
    nothing_stored = replace(FACTS, checkpoint_lsn=None, checkpoint_mode=None)
    verdict = position.position(position.Position(nothing_stored, OWNER))
    assert verdict.remedy == "run `relay setup`, or correct RELAY_NAME"
    not_ours = replace(nothing_stored, slot_database="d1")
    assert position.position(position.Position(not_ours, OWNER)).remedy == "see checkpoint.owner first"


@pytest.mark.parametrize(
    ("facts", "status", "says"),
    [
        (FACTS, "OK", ""),
        (replace(FACTS, slot=None), "OK", ""),
        (replace(FACTS, system_identifier="2"), "FAIL", "system 7000000000000000001"),
        (replace(FACTS, slot_database="d1"), "FAIL", "database 'd1'"),
        (replace(FACTS, checkpoint_outboxes=["sales.outbox"]), "FAIL", "sales.outbox"),
        (replace(FACTS, checkpoint_slot="old"), "FAIL", "slot 'old'"),
        (replace(FACTS, other_relay="sales"), "FAIL", "relay 'sales'"),
    ],
)
def test_whose_the_slot_and_the_position_are(facts: Facts, status: str, says: str) -> None:
    verdict = position.owner(position.Position(facts, OWNER))
    assert verdict.status == status
    assert says in verdict.summary


NOWHERE = TableFacts(None)


def test_setup_creates_only_our_own_table() -> None:
    theirs = layout("native", "orders.outbox", {}, partitioned=False)
    assert "run `relay setup`" in str(outbox.table(replace(OUTBOX, facts=NOWHERE)).remedy)
    assert "its owner has to create it" in str(outbox.table(replace(OUTBOX, facts=NOWHERE, layout=theirs)).remedy)


@pytest.mark.parametrize(
    ("judge", "facts", "status", "says"),
    [
        (outbox.table, OUTBOX, "OK", ""),
        (outbox.table, replace(OUTBOX, facts=NOWHERE), "FAIL", "no table outbox.event"),
        (outbox.table, replace(OUTBOX, facts=replace(TABLE, columns=TABLE.columns[1:])), "FAIL", "'id'"),
        (outbox.table, replace(OUTBOX, facts=replace(TABLE, unlogged=["outbox.event_1"])), "FAIL", "unlogged"),
        (outbox.table, replace(OUTBOX, layout=None, facts=NOWHERE), "OK", "needs no table"),
        (outbox.publication, OUTBOX, "OK", "needs no publication"),
        (outbox.publication, PUBLISHED, "OK", ""),
        (outbox.publication, replace(PUBLISHED, facts=TABLE), "FAIL", "does not exist"),
        (
            outbox.publication,
            replace(PUBLISHED, facts=replace(TABLE, publication=replace(PUBLICATION, through_root=False))),
            "FAIL",
            "publishes partitions under their own names",
        ),
    ],
)
def test_the_outbox(judge: Callable[[Outbox], Verdict], facts: Outbox, status: str, says: str) -> None:
    verdict = judge(facts)
    assert verdict.status == status
    assert says in verdict.summary


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (Schema(()), "OK"),
        (Schema(("004_parked.sql",)), "FAIL"),
        (Schema((), Problem("001 was changed", remedy="install the version that set it up")), "FAIL"),
    ],
)
def test_the_schema(facts: Schema, status: str) -> None:
    assert outbox.schema(facts).status == status


def test_facts_that_could_not_be_gathered_are_unknown_under_every_id() -> None:
    section = Unknown("Postgres is not available", "start it")
    findings = list(judged(SERVER_CHECKS, section))
    assert [finding.id for finding in findings] == [check.id for check in SERVER_CHECKS]
    assert {finding.status for finding in findings} == {Status.UNKNOWN}
    assert reached("postgres.connection", section, "Postgres answers").status is Status.FAIL


def test_ids_are_unique() -> None:
    every: list[Check[Any]] = [
        *connection.CHECKS,
        *SERVER_CHECKS,
        *role.CHECKS,
        *slot.CHECKS,
        *outbox.SCHEMA_CHECKS,
        *outbox.OUTBOX_CHECKS,
        *position.CHECKS,
    ]
    assert len({check.id for check in every}) == len(every)
