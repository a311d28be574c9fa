"""A relay that has one source, because it is set so or there is no other, neither loses it nor ends for a request."""

from pathlib import Path

import psycopg

from sandbox import Isolated
from tests.integration.relay.stage import one, publish, staged

FILL = "SELECT count(pg_logical_emit_message(false, 'filler', repeat('x', 1000000))) FROM generate_series(1, 3)"
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"


def test_the_slot_of_a_relay_that_reads_the_wal_only_is_kept_at_its_budget(isolated: Isolated, tmp_path: Path) -> None:
    url = isolated.database_url
    with staged(isolated, tmp_path) as stage:
        tap = stage.set_up()
        relay = stage.start("relay", "run", RELAY_SOURCE="wal", RELAY_SLOT_BUDGET=str(1 << 20))
        relay.streams()
        with psycopg.connect(url) as holder:
            holder.execute("SELECT pg_current_xact_id()")  # the slot retains WAL from here on
            one(url, FILL)
            relay.logged("the slot fills", seconds=60)
            assert "keeps the slot" in relay.logged("slot budget")["then"]
            publish(url, "a")
            tap.grows(0)
        assert one(url, SLOTS, isolated.name) == 1
        assert relay.sources[-1] == "wal"
        assert relay.terminate() == 0


def test_a_request_to_poll_does_not_end_a_relay_whose_outbox_has_no_table(isolated: Isolated, tmp_path: Path) -> None:
    url = isolated.database_url
    with staged(isolated, tmp_path) as stage:
        stage.settings["RELAY_MESSAGE_PREFIX"] = "orders"
        stage.set_up()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE relay.checkpoint SET wanted = 'polling'")
        relay = stage.start("relay", "run")
        relay.streams()
        assert relay.logged("not polled")["reason"] == "an outbox of logical messages has no table to poll"
        assert relay.terminate() == 0
