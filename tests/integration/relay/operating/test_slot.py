"""`relay slot` on a real server: what it prints and refuses, and that nothing else changes."""

import psycopg
import pytest

from sandbox import Isolated
from tests.integration.relay.operating.slot_stage import position, slot, slots
from tests.integration.relay.stage import call, environment, held, one, own_address, publish


def test_show_prints_the_slot(streaming: Isolated) -> None:
    shown = slot(streaming, "show", "--json").json
    assert (shown["name"], shown["plugin"], shown["database"]) == (streaming.name, "wal2json", streaming.name)
    assert shown["holder_pid"] is None
    assert shown["confirmed_flush_lsn"] == position(streaming)[0]
    assert "held by" in slot(streaming, "show").output


def test_show_of_a_missing_slot_fails_and_says_what_to_do(isolated: Isolated) -> None:
    said = slot(isolated, "show")
    assert said.code == 1
    assert "run `relay setup`" in said.output


def test_create_creates_the_slot_once_and_never_over_a_gap(streaming: Isolated) -> None:
    """What cannot be polled is in the slot alone."""
    variables = environment(streaming, RELAY_SOURCE="wal")
    assert "exists" in call(variables, "slot", "create").output
    assert call(variables, "slot", "drop", "--yes").code == 0
    said = call(variables, "slot", "create")
    assert said.code == 1
    assert "is gone" in said.output
    with psycopg.connect(streaming.database_url) as connection:
        connection.execute("DELETE FROM relay.checkpoint")
    assert "created" in call(variables, "slot", "create").output


def test_create_leaves_the_position_from_which_the_table_is_polled(streaming: Isolated) -> None:
    row = "SELECT row_to_json(c)::text FROM relay.checkpoint AS c"
    before = one(streaming.database_url, row)
    assert slot(streaming, "drop", "--yes").code == 0
    assert "created" in slot(streaming, "create").output
    assert one(streaming.database_url, row) == before


def test_drop_asks_first_and_is_safe_to_repeat(streaming: Isolated) -> None:
    assert slot(streaming, "drop", answer="n\n").code == 1
    assert slots(streaming) == 1
    assert slot(streaming, "drop", answer="y\n").code == 0
    assert slots(streaming) == 0
    said = slot(streaming, "drop", "--yes")
    assert said.code == 0
    assert "does not exist" in said.output


@pytest.mark.parametrize("command", ["drop", "skip"])
def test_a_held_slot_is_left_alone_and_its_holder_named(streaming: Isolated, command: str) -> None:
    publish(streaming.database_url, "a")
    target = (
        ["--to", slot(streaming, "skip", "--json").json["transactions"][-1]["end_lsn"]] if command == "skip" else []
    )
    with held(streaming):
        said = slot(streaming, command, *target, "--yes")
    assert said.code == 1
    assert f"is held by other at {own_address(streaming.database_url)}, pid" in said.output
    assert "stop" in said.output
    assert slots(streaming) == 1


def _lags(streaming: Isolated) -> str:
    """Make the slot that keeps WAL for replays, as the active relay does; return its name."""
    name = f"{streaming.name}_replay"
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute("UPDATE relay.checkpoint SET replay_slot = %s", [name])
        connection.execute("SELECT pg_copy_logical_replication_slot(%s, %s, false)", [streaming.name, name])
    return name


def test_the_slot_for_replays_is_shown_and_checked_and_dropped_with_the_relays_own(streaming: Isolated) -> None:
    assert slot(streaming, "show", "--json").json["replay_window"] is None
    name = _lags(streaming)
    shown = slot(streaming, "show", "--json").json["replay_window"]
    assert (shown["name"], shown["confirmed_flush_lsn"]) == (name, position(streaming)[0])
    assert f"of WAL by {name}, from" in slot(streaming, "show").output

    status = call(environment(streaming), "status", "--json").json
    assert status["replay_window"]["from"] == shown["confirmed_flush_lsn"]
    assert "kept for replays" in call(environment(streaming), "status").output

    checks = {each["id"]: each for each in call(environment(streaming), "check", "--json").json["checks"]}
    assert checks["slot.replay_window"]["status"] == "WARN"
    on = environment(streaming, RELAY_REPLAY_WINDOW="1048576")
    checks = {each["id"]: each for each in call(on, "check", "--json").json["checks"]}
    assert checks["slot.replay_window"]["status"] == "OK"
    assert name in checks["slot.replay_window"]["summary"]

    said = slot(streaming, "drop", "--yes")
    assert said.code == 0, said.output
    assert f"replication slot {streaming.name!r} and replication slot {name!r} are dropped" in said.output
    assert slots(streaming) == 0


def test_the_slot_for_replays_of_another_relay_is_no_relays_slot(streaming: Isolated) -> None:
    name = _lags(streaming)
    said = call(environment(streaming, RELAY_NAME="second", RELAY_SLOT=name), "setup")
    assert said.code == 1
    assert f"replication slot {name!r} belongs to relay 'relay'" in said.output
