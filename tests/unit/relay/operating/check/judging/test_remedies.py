"""The remedies of checks: they differ where causes differ, and can be executed as printed."""

from dataclasses import replace

import pytest

from outboxkit.amqp.answers import answer
from outboxkit.amqp.answers.answer import Answer
from relay.operating.check.judging.postgres import plugin, role
from relay.operating.check.judging.postgres.server import Probe, Server
from relay.operating.check.judging.rabbitmq import broker, queues
from relay.operating.check.judging.rabbitmq.queues import Queue
from relay.operating.check.judging.relay import outbox, slot
from tests.unit.relay.operating.check.judging.check_facts import (
    BROKER,
    HELD,
    PUBLICATION,
    PUBLISHED,
    REFUSED,
    RELAY_SLOT,
    ROLE,
    SERVER,
    TABLE,
    probed,
    with_settings,
    with_slot,
)

NEWER = with_settings(wal_level="replica", effective_wal_level="replica")


def test_names_of_roles_and_tables_are_quoted() -> None:
    theirs = replace(HELD, object="Shop.order", privilege="SELECT", held=False)
    odd = replace(ROLE, name='re"lay', privileges=[theirs], replication=False, streams=False, connection_limit=1)
    assert role.privileges(odd).remedy == 'GRANT SELECT ON "Shop"."order" TO "re""lay"'
    assert 'ALTER ROLE "re""lay" REPLICATION' in role.replication(odd).remedy
    assert 'ALTER ROLE "re""lay" CONNECTION LIMIT 20' in role.connection_limit(odd).remedy


def test_relays_that_share_an_outbox_need_sessions_for_all_of_them() -> None:
    four = replace(ROLE, name="r", connection_limit=20, relays=4)
    assert role.connection_limit(replace(four, relays=1)).status == "OK"
    found = role.connection_limit(four)
    assert (found.status, "each of 4 relays has up to nine" in found.summary) == ("WARN", True)
    assert found.remedy == 'as a superuser: ALTER ROLE "r" CONNECTION LIMIT 50; or give each relay a role of its own'
    assert role.connection_limit(replace(four, connection_limit=50)).status == "OK"


@pytest.mark.parametrize(
    ("objects", "remedy"),
    [(["relay", "orders.outbox"], "run `relay setup`"), (["orders.outbox"], "see outbox.table")],
)
def test_a_missing_table_of_the_application_is_not_created_by_setup(objects: list[str], remedy: str) -> None:
    missing = [replace(HELD, object=each, held=None) for each in objects]
    assert role.privileges(replace(ROLE, privileges=missing)).remedy == remedy


def test_create_on_schema_public_is_revoked_from_public() -> None:
    """A role of its own would have it too, before PostgreSQL 15."""
    only = role.excess(replace(ROLE, excess=["CREATE on schema public, as PUBLIC has it"])).remedy
    assert only.startswith("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    both = role.excess(replace(ROLE, superuser=True, excess=["CREATE on schema public, as PUBLIC has it"])).remedy
    assert "sql/roles.sql" in both
    assert "REVOKE CREATE ON SCHEMA public FROM PUBLIC" in both


def test_what_an_owner_has_cannot_be_taken_from_it() -> None:
    rights = ["CREATE on schema public", "ownership of database shop"]
    assert role.excess(replace(ROLE, excess=rights)).remedy == (
        "run the relay as a role of its own, which sql/roles.sql creates"
    )


@pytest.mark.parametrize(
    ("facts", "remedy"),
    [
        (replace(with_slot(plugin="pgoutput"), plugin="wal2json"), "set RELAY_PLUGIN=pgoutput"),
        (with_slot(database="other"), "set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`"),
        (with_slot(plugin=None, database=None), "set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`"),
        (with_slot(temporary=True), "set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`"),
    ],
)
def test_a_slot_for_another_plugin_needs_a_setting_and_any_other_slot_needs_a_new_one(
    facts: slot.RelaySlot, remedy: str
) -> None:
    (check,) = (check for check in slot.CHECKS if check.id == "slot.purpose")
    assert check.judge(facts).remedy == remedy


def test_a_slot_of_another_plugin_is_dropped_and_a_relay_with_a_position_keeps_its_name() -> None:
    (check,) = (check for check in slot.CHECKS if check.id == "slot.purpose")
    foreign = with_slot(plugin="test_decoding")
    for stored in (True, False):
        remedy = check.judge(replace(foreign, stored=stored)).remedy
        assert remedy.startswith("if nobody else uses the slot, run `relay slot drop`, then `relay setup`")
        assert ("RELAY_NAME" in remedy) is not stored


def test_without_a_limit_there_is_no_limit_to_raise() -> None:
    (check,) = (check for check in slot.CHECKS if check.id == "slot.wal_status")
    extended = with_slot(wal_status="extended")
    assert "raise max_slot_wal_keep_size" in check.judge(extended).remedy
    assert "max_slot_wal_keep_size" not in check.judge(replace(extended, limit_bytes=None)).remedy
    assert RELAY_SLOT.limit_bytes is not None


@pytest.mark.parametrize(
    ("facts", "remedy"),
    [
        (probed(), "see role.replication"),
        (replace(with_settings(wal_level="replica"), probes=[]), "see postgres.wal_level"),
        (replace(NEWER, probes=[]), "run `relay setup`, which creates the first logical slot, then check again"),
        (probed(Probe("wal2json", "53400", "all are in use")), "see postgres.free_slots"),
        (probed(Probe("wal2json", "42501", "refused")), "see role.replication and postgres.plugin_listed"),
    ],
)
def test_a_plugin_that_was_not_tried_points_to_the_reason(facts: Server, remedy: str) -> None:
    assert plugin.plugin_works(facts).remedy == remedy


def test_an_item_that_is_not_an_identifier_is_quoted() -> None:
    listed = replace(SERVER, settings={**SERVER.settings, "output_plugin_libraries": "pgoutput, my-plugin"})
    assert "= pgoutput, 'my-plugin', wal2json;" in plugin.plugin_listed(listed).remedy


def test_a_missing_publication_is_created_and_a_wrong_one_altered() -> None:
    assert outbox.publication(replace(PUBLISHED, facts=TABLE)).remedy == "run `relay setup`"
    wrong = replace(PUBLISHED, facts=replace(TABLE, publication=replace(PUBLICATION, actions=["update"])))
    remedy = outbox.publication(wrong).remedy
    assert "ALTER PUBLICATION \"s\" SET (publish = 'insert, update')" in remedy
    assert "set another RELAY_SLOT" in remedy


def test_an_exchange_that_differs_is_replaced_by_another_and_never_deleted() -> None:
    text = "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'outbox' in vhost '/': "
    declared = Answer(answer.PRECONDITION_FAILED, text + "received 'topic' but current is 'fanout'")
    remedy = broker.exchange(replace(BROKER, declared=declared)).remedy
    assert remedy.startswith("events are not routed by topic; ")
    assert "set another RELAY_EXCHANGE" in remedy
    assert "delete" not in remedy


def test_the_pattern_of_a_permission_matches_the_exchange_literally() -> None:
    assert r"'^my\.outbox$'" in broker.publish(replace(BROKER, published=REFUSED, exchange_name="my.outbox")).remedy


def test_the_arguments_of_a_queue_that_does_not_exist_are_not_looked_up() -> None:
    absent = Queue("tasks", Answer(answer.NOT_FOUND), None, "NOT_FOUND")
    assert queues.queue_delivery_limit(absent).remedy == "see queue.type"
