"""What a relay that only polls is warned of or refused, and what wakes it, on a server that could decode too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import call, environment, one, publish, staged
from tests.support.pooler import Pooler
from tests.support.proxy import Proxy
from tests.support.stage import Stage

# The session asks for its pid once it listens.
LISTENS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'relay listen'
  AND state = 'idle' AND query LIKE '%%pg_backend_pid()%%'
"""
END = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = %s AND application_name = %s"
LOCKS = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
SLOW = 500_000
"""Bytes per second: the backlog takes so long that the relay is killed in the middle of it."""
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"


@pytest.fixture
def polls(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage whose relays only poll."""
    with staged(isolated, tmp_path) as stage:
        stage.settings["RELAY_SOURCE"] = "polling"
        yield stage


def _finding(variables: dict[str, str], identity: str) -> dict[str, Any]:
    (found,) = (each for each in call(variables, "check", "--json").json["checks"] if each["id"] == identity)
    return dict(found)


def test_a_slot_that_nobody_reads_is_warned_of_until_it_is_dropped(ready: Isolated) -> None:
    polling = environment(ready, RELAY_SOURCE="polling")
    found = _finding(polling, "slot.exists")
    assert (found["status"], found["facts"]["slot"]) == ("WARN", ready.name)
    assert "run `relay slot drop`" in found["remedy"]
    said = call(polling, "slot", "drop", "--yes")
    assert said.code == 0
    assert "RELAY_SOURCE is polling, which needs none" in said.output
    assert _finding(polling, "slot.exists")["status"] == "OK"
    assert _finding(environment(ready, RELAY_SOURCE="wal"), "slot.exists")["status"] == "FAIL", (
        "a control: the other mode needs it"
    )


def test_a_slot_that_nobody_reads_is_dropped_at_its_budget(ready: Isolated, polls: Stage) -> None:
    relay = polls.start("relay", "run", RELAY_SLOT_BUDGET=str(1 << 20))
    relay.logged("streaming", seconds=90)
    with_wal = "SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 1000000))) FROM generate_series(1, 3)"
    one(ready.database_url, with_wal)
    until(lambda: one(ready.database_url, SLOTS, ready.name) == 0, what="the slot is dropped", seconds=60)
    assert relay.terminate() == 0


def test_a_relay_is_refused_behind_a_pooler_that_would_keep_its_lock(polls: Stage, isolated: Isolated) -> None:
    assert polls.run("relay", "setup").process.returncode == 0
    with Pooler(isolated.database_url) as pooler:
        relay = polls.run("relay", "run", RELAY_DATABASE_URL=pooler.url)
        found = _finding(
            environment(isolated, RELAY_SOURCE="polling", RELAY_DATABASE_URL=pooler.url), "polling.session"
        )
    assert relay.process.returncode == 1
    assert "a connection pooler is between the relay and Postgres" in relay.stderr
    assert (found["status"], found["remedy"]) == ("FAIL", "set RELAY_DATABASE_URL to Postgres itself")
    assert one(isolated.database_url, LOCKS) == 0


@pytest.mark.parametrize("command", ["setup", "run", "slot create"])
def test_slots_for_failover_are_refused_by_a_server_without_them(ready: Isolated, tmp_path: Path, command: str) -> None:
    if one(ready.database_url, "SELECT current_setting('server_version_num')::integer") >= 170000:
        wanted = environment(ready, RELAY_SLOT_FAILOVER="on")
        assert _finding(wanted, "postgres.slot_failover")["status"] == "OK"
        made_before = _finding(wanted, "slot.failover")
        assert made_before["status"] == "FAIL"
        statement = str(made_before["remedy"]).split("'")[3]
        with psycopg.connect(ready.database_url, autocommit=True, replication="database") as connection:
            connection.execute(statement.encode())
        assert _finding(wanted, "slot.failover")["status"] == "WARN", "nothing waits for a standby"
        return
    with staged(ready, tmp_path) as stage:
        ended = stage.run("relay", *command.split(), RELAY_SLOT_FAILOVER="on")
    assert ended.process.returncode == 1
    assert "RELAY_SLOT_FAILOVER is on, and this server is PostgreSQL" in ended.stderr
    assert "unset RELAY_SLOT_FAILOVER" in ended.stderr
    found = _finding(environment(ready, RELAY_SLOT_FAILOVER="on"), "postgres.slot_failover")
    assert found["status"] == "FAIL"
    assert _finding(environment(ready, RELAY_SLOT_FAILOVER="off"), "postgres.slot_failover")["status"] == "OK"


def test_a_writer_wakes_the_relay_again_after_the_listening_session_was_ended(polls: Stage, isolated: Isolated) -> None:
    tap = polls.set_up()
    assert polls.run("relay", "setup", "--notify").process.returncode == 0
    relay = polls.start("relay", "run", RELAY_POLL_NOTIFY="on", RELAY_POLL_INTERVAL="600")
    relay.logged("streaming", seconds=90)
    url = isolated.database_url
    until(lambda: one(url, LISTENS) == 1, what="it listens", seconds=30)
    publish(url, "a")
    tap.grows(0)
    assert one(url, END, isolated.name, "relay listen") == 1
    until(lambda: one(url, LISTENS) == 1, what="it listens again", seconds=60)
    publish(url, "b")
    tap.grows(1)
    assert relay.terminate() == 0


def test_a_relay_polls_at_its_interval_while_it_cannot_listen(polls: Stage, isolated: Isolated) -> None:
    tap = polls.set_up()  # without the trigger, so that nothing wakes it
    relay = polls.start("relay", "run", RELAY_POLL_NOTIFY="on", RELAY_POLL_INTERVAL="0.5")
    relay.logged("streaming", seconds=90)
    until(lambda: one(isolated.database_url, LISTENS) == 1, what="it listens", seconds=30)
    assert one(isolated.database_url, END, isolated.name, "relay listen") == 1
    publish(isolated.database_url, "a")
    tap.grows(0)
    assert relay.terminate() == 0


def test_a_backlog_goes_on_where_it_was_stored_after_a_kill(polls: Stage, isolated: Isolated) -> None:
    """What comes again is what was in flight, and what was confirmed since the position was last stored."""
    tap = polls.set_up()
    events = polls.publish_in_one_transaction(20_000, "bulk")
    part = "SELECT coalesce(max(round_seq), 0) FROM relay.checkpoint WHERE round_snapshot IS NOT NULL"
    with Proxy(isolated.amqp_url) as proxy:
        proxy.slow(SLOW)
        relay = polls.start("relay", "run", RELAY_AMQP_URL=proxy.url, RELAY_MAX_IN_FLIGHT="500", RELAY_POLL_BATCH="500")
        relay.logged("streaming", seconds=90)
        tap.grows(2_000, seconds=90)
        until(lambda: one(isolated.database_url, part) > 0, what="a part is stored", seconds=60, every=0.01)
        relay.kill()
        before = tap.waiting()
    assert one(isolated.database_url, part) > 0, "it was killed in the middle"
    relay = polls.start("relay", "run", RELAY_MAX_IN_FLIGHT="500", RELAY_POLL_BATCH="500")
    relay.logged("streaming", seconds=90)
    stored = (
        "SELECT count(*) FROM relay.checkpoint WHERE round_snapshot IS NULL AND updated_at > now() - interval '1 hour'"
    )
    until(lambda: one(isolated.database_url, stored) == 1 and tap.waiting() >= 20_000, what="all of it", seconds=120)
    assert relay.terminate() == 0
    verdict = polls.judge(tap, events)
    assert verdict.duplicates < before, "it did not begin again from the first"
