"""`relay slot` on a real server: what it prints and refuses, and that nothing else changes."""

import psycopg
import pytest

from sandbox import Isolated
from tests.integration.relay.operating.slot_stage import position, slot, slots
from tests.integration.relay.stage import held, own_address, publish


def test_show_prints_the_slot(ready: Isolated) -> None:
    shown = slot(ready, "show", "--json").json
    assert (shown["name"], shown["plugin"], shown["database"]) == (ready.name, "wal2json", ready.name)
    assert shown["holder_pid"] is None
    assert shown["confirmed_flush_lsn"] == position(ready)[0]
    assert "held by" in slot(ready, "show").output


def test_show_of_a_missing_slot_fails_and_says_what_to_do(isolated: Isolated) -> None:
    said = slot(isolated, "show")
    assert said.code == 1
    assert "run `relay setup`" in said.output


def test_create_creates_the_slot_once_and_never_over_a_gap(ready: Isolated) -> None:
    assert "exists" in slot(ready, "create").output
    assert slot(ready, "drop", "--yes").code == 0
    said = slot(ready, "create")
    assert said.code == 1
    assert "is gone" in said.output
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("DELETE FROM relay.checkpoint")
    assert "created" in slot(ready, "create").output


def test_drop_asks_first_and_is_safe_to_repeat(ready: Isolated) -> None:
    assert slot(ready, "drop", answer="n\n").code == 1
    assert slots(ready) == 1
    assert slot(ready, "drop", answer="y\n").code == 0
    assert slots(ready) == 0
    said = slot(ready, "drop", "--yes")
    assert said.code == 0
    assert "does not exist" in said.output


@pytest.mark.parametrize("command", ["drop", "skip"])
def test_a_held_slot_is_left_alone_and_its_holder_named(ready: Isolated, command: str) -> None:
    publish(ready.database_url, "a")
    target = ["--to", slot(ready, "skip", "--json").json["transactions"][-1]["end_lsn"]] if command == "skip" else []
    with held(ready):
        said = slot(ready, command, *target, "--yes")
    assert said.code == 1
    assert f"is held by other at {own_address(ready.database_url)}, pid" in said.output
    assert "stop" in said.output
    assert slots(ready) == 1
