"""The checks of polling, and what of the WAL counts less for a relay that polls meanwhile."""

from dataclasses import replace
from typing import Any

import pytest

from outboxkit.checks.finding import fail, named
from relay.operating.check.judging.meanwhile import eased
from relay.operating.check.judging.postgres import role
from relay.operating.check.judging.postgres.connection import PostgresConnection
from relay.operating.check.judging.relay import polling
from relay.operating.check.judging.relay.polling import Polling
from relay.operating.check.judging.relay.position import Position, position
from relay.sources.fields import FIELDS
from relay.sources.layout import Layout
from relay.sources.polling.skip_locked.statements import require_key
from relay.storage.facts import ColumnFacts, Facts, TableFacts
from tests.support.examples import FACTS, OWNER
from tests.unit.relay.operating.check.judging.check_facts import ROLE

COLUMNS = [ColumnFacts(name, 25, 25, "text") for name in FIELDS]
TX = ColumnFacts("tx", 5069, 5069, "xid8", default="pg_current_xact_id()")
TABLE = TableFacts("r", COLUMNS, leaves=[("Shop", "out")], unique=["id"])
LAYOUT = Layout("Shop", "out", {name: name for name in FIELDS}, frozenset(), partitioned=False)
POLLING = Polling(
    source="polling", strategy="skip_locked", notify=False, layout=LAYOUT, facts=TABLE, role="relay", pooled=False,
    tx_default=None, unindexed=[], writers=[], writable=[], notifies=False,
)  # fmt: skip
DIRECT = PostgresConnection(["localhost"], "disable", encrypted=False, client_pid=1, server_pid=1)
POLLS = replace(FACTS, checkpoint_mode="polling", checkpoint_lsn=None)


def verdict(identity: str, found: Polling) -> tuple[str, str]:
    (check,) = (check for check in polling.CHECKS if check.id == identity)
    judged = check.judge(found)
    return str(judged.status), judged.remedy


def test_a_relay_that_shares_a_table_needs_no_column_tx() -> None:
    assert verdict("polling.table", POLLING) == ("OK", "")
    assert verdict("polling.tx_default", POLLING) == ("OK", "")


@pytest.mark.parametrize("facts", [TABLE, TableFacts(None)])
def test_a_default_of_tx_is_asked_for_only_where_there_is_tx(facts: TableFacts) -> None:
    """ALTER COLUMN tx would fail without the column."""
    found = replace(POLLING, strategy="snapshot", facts=facts)
    assert verdict("polling.tx_default", found) == ("UNKNOWN", "see polling.table")
    assert verdict("polling.table", found)[0] == "FAIL"


@pytest.mark.parametrize(
    ("facts", "remedy"),
    [
        (replace(TABLE, unique=["seq"]), 'CREATE UNIQUE INDEX CONCURRENTLY ON "Shop"."out" ("id")'),
        (
            replace(TABLE, unique=[], kind="p"),
            "set RELAY_POLL_STRATEGY=snapshot, which needs no such index, then run `relay setup --add-tx-column`",
        ),
        (
            replace(TABLE, unique=[], kind="p", columns=[*COLUMNS, TX]),
            "set RELAY_POLL_STRATEGY=snapshot, which needs no such index",
        ),
    ],
)
def test_rows_that_count_as_one_are_found_and_the_remedy_is_possible(facts: TableFacts, remedy: str) -> None:
    assert verdict("polling.table", replace(POLLING, facts=facts)) == ("FAIL", remedy)


def test_a_table_whose_id_is_unique_is_shared() -> None:
    require_key(LAYOUT, TABLE)


@pytest.mark.parametrize(
    ("identity", "facts", "changes", "status"),
    [
        ("postgres.wal_level", FACTS, {}, "WARN"),
        ("role.replication", FACTS, {}, "WARN"),
        ("slot.exists", FACTS, {}, "WARN"),
        ("slot.exists", FACTS, {"pollable": False}, "FAIL"),
        ("slot.exists", replace(FACTS, checkpoint_snapshot=None), {}, "FAIL"),
        ("slot.exists", replace(FACTS, other_relay="sales"), {}, "FAIL"),
        ("postgres.replication", FACTS, {}, "FAIL"),
        ("postgres.replication", POLLS, {}, "WARN"),
        ("outbox.table", POLLS, {}, "FAIL"),
        ("postgres.long_transactions", POLLS, {}, "WARN"),
    ],
)
def test_what_keeps_a_relay_from_the_wal_is_a_warning_where_it_polls_meanwhile(
    identity: str,
    facts: Facts,
    changes: dict[str, Any],
    status: str,
) -> None:
    found = named(identity, fail("it is not there", remedy="make it"))
    where = Position(facts, OWNER, **{"pollable": True, **changes})
    (judged,) = eased([found], where, ROLE, DIRECT)
    assert judged.status == status
    assert ("polls the table meanwhile" in judged.summary) is (status == "WARN")
    if status == "WARN":
        assert "goes back to the WAL by itself" in judged.remedy


def test_a_right_to_stream_that_is_missing_is_one_warning_and_a_pooler_stays_a_failure() -> None:
    found = [named("postgres.replication", fail("refused", remedy="grant it"))]
    lacking = replace(ROLE, replication=False, streams=False)
    assert role.replication(lacking).status == "FAIL"
    (judged,) = eased(found, Position(FACTS, OWNER, pollable=True), lacking, DIRECT)
    assert judged.status == "WARN"
    (judged,) = eased(found, Position(POLLS, OWNER, pollable=True), ROLE, replace(DIRECT, client_pid=2))
    assert judged.status == "FAIL"


def test_a_slot_of_another_plugin_does_not_come_right_by_itself() -> None:
    judged = position(Position(replace(FACTS, plugin="test_decoding"), OWNER, pollable=True))
    assert judged.status == "WARN"
    assert "none is needed" not in judged.remedy
    assert "`relay slot drop`" in judged.remedy
