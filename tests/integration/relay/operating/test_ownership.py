"""Whose slot it is: every command that opens, sets up, checks, skips or drops compares, and names both sides."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import LiteralString

import psycopg
import pytest

from sandbox import Isolated, Sandbox
from tests.integration.relay import stage
from tests.integration.relay.stage import Said, environment, one, publish
from tests.support.commands import ROOT

EXISTS = "SELECT database::text FROM pg_replication_slots WHERE slot_name = %s"
ROW: LiteralString = "SELECT row_to_json(c)::text FROM relay.checkpoint AS c"
NAMES_A_RELAY: LiteralString = """
SELECT array_agg(table_name::text) FROM information_schema.columns
WHERE table_schema = 'relay' AND column_name = 'relay'
"""
TABLE = "CREATE SCHEMA sales CREATE TABLE outbox (LIKE outbox.event INCLUDING ALL)"


@pytest.fixture
def second(sandbox: Sandbox) -> Iterator[Isolated]:
    """Yield another database of the same server."""
    with sandbox.isolated() as isolated:
        yield isolated


@pytest.fixture
def sales(ready: Isolated) -> dict[str, str]:
    """Return the settings of a second service in the same database, with the names that it has by default."""
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute(TABLE)
    return environment(ready, RELAY_OUTBOX_TABLE="sales.outbox")


COMMANDS = [
    ("setup",),
    ("setup", "--accept-gap"),
    ("slot", "create"),
    ("slot", "drop", "--yes"),
    ("slot", "skip", "--to", "FFFFFFFF/0", "--yes"),
    ("run",),
]


def call(variables: Mapping[str, str], *command: str) -> Said:
    """Run a command; `run` as a process of its own, because it tunes the collector and lasts if nothing is refused."""
    if command != ("run",):
        return stage.call(variables, *command)
    relay = [sys.executable, "-m", "relay", "run"]
    ended = subprocess.run(
        relay, env={**os.environ, **variables}, timeout=120, check=False, capture_output=True, text=True
    )
    return Said(ended.returncode, ended.stderr)


def findings(said: Said) -> dict[str, str]:
    return {finding["id"]: finding["status"] for finding in said.json["checks"]}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_slot_of_another_database_is_not_touched(
    ready: Isolated, second: Isolated, command: tuple[str, ...]
) -> None:
    variables = environment(second, RELAY_SLOT=ready.name, RELAY_EXCHANGE=ready.name)
    first, other = (
        psycopg.conninfo.conninfo_to_dict(url)["dbname"] for url in (ready.database_url, second.database_url)
    )
    said = call(variables, *command)
    assert said.code == 1
    assert f"belongs to database '{first}', and this is database '{other}'" in said.output
    assert "RELAY_SLOT" in said.output
    assert one(ready.database_url, EXISTS, ready.name) == first
    assert findings(call(variables, "check", "--json"))["checkpoint.owner"] == "FAIL"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_slot_of_another_outbox_is_not_touched(
    ready: Isolated, sales: dict[str, str], command: tuple[str, ...]
) -> None:
    before = one(ready.database_url, ROW)
    said = call(sales, *command)
    assert said.code == 1
    assert "belongs to outbox.event, and this relay is set to sales.outbox" in said.output
    assert one(ready.database_url, ROW) == before
    assert findings(call(sales, "check", "--json"))["checkpoint.owner"] == "FAIL"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_slot_of_another_relay_is_not_touched(ready: Isolated, command: tuple[str, ...]) -> None:
    said = call(environment(ready, RELAY_NAME="second"), *command)
    assert said.code == 1
    assert "belongs to relay 'relay' of outbox.event, and this is relay 'second'" in said.output
    assert one(ready.database_url, "SELECT count(*) FROM relay.checkpoint") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_one_relay_has_one_slot(ready: Isolated, command: tuple[str, ...]) -> None:
    said = call(environment(ready, RELAY_SLOT="another"), *command)
    assert said.code == (0 if command[:2] == ("slot", "drop") else 1)
    assert one(ready.database_url, "SELECT slot FROM relay.checkpoint") == ready.name
    assert one(ready.database_url, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'another'") == 0


def test_the_remedies_for_a_second_outbox_work(ready: Isolated, sales: dict[str, str]) -> None:
    assert call(sales, "setup").code == 1
    own = {**sales, "RELAY_NAME": "sales", "RELAY_SLOT": f"{ready.name}_s"}
    assert call(own, "setup").code == 0
    assert findings(call(own, "check", "--json"))["checkpoint.owner"] == "OK"
    assert call(own, "slot", "drop", "--yes").code == 0


def remade(isolated: Isolated) -> None:
    """Make the slot again, by hand, above two events."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_drop_replication_slot(%s)", (isolated.name,))
        publish(isolated.database_url, "1", "2")
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", (isolated.name,))


def test_a_slot_that_was_made_again_is_found_by_check_and_run_and_the_remedy_works(streaming: Isolated) -> None:
    """Where nothing is polled, the slot alone has what is not published."""
    variables = environment(streaming, RELAY_SOURCE="wal")
    remade(streaming)
    for command in (("setup",), ("run",)):
        said = call(variables, *command)
        assert said.code == 1
        assert "was moved or made again" in said.output
        assert "then `relay audit --since 7d` names what nobody published" in said.output
    assert findings(call(variables, "check", "--json"))["checkpoint.position"] == "FAIL"
    assert call(variables, "setup", "--accept-gap").code == 0
    assert findings(call(variables, "check", "--json"))["checkpoint.position"] == "OK"


def test_a_slot_that_was_made_again_is_no_gap_where_the_table_is_polled(streaming: Isolated) -> None:
    variables = environment(streaming)
    remade(streaming)
    before = one(streaming.database_url, ROW)
    assert findings(call(variables, "check", "--json"))["checkpoint.position"] == "WARN"
    assert call(variables, "setup").code == 0
    said = call(variables, "setup", "--accept-gap")
    assert (said.code, "there is no gap to accept" in said.output) == (1, True)
    assert one(streaming.database_url, ROW) == before


def test_an_accepted_gap_leaves_no_position_ahead_of_the_server(streaming: Isolated) -> None:
    """What an older version left when a database went back in time: slot and position are ahead of the WAL."""
    variables = environment(streaming)
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute("UPDATE relay.checkpoint SET lsn = 'FF/0'")
    assert "ahead of the server's WAL" in call(variables, "run").output
    assert "ahead of the server's WAL" in call(variables, "setup").output
    assert call(variables, "setup", "--accept-gap").code == 0
    assert findings(call(variables, "check", "--json"))["checkpoint.position"] == "OK"


@pytest.mark.parametrize(("source", "code"), [("wal", 0), ("auto", 1)])
def test_an_accepted_gap_where_there_is_none_changes_nothing(streaming: Isolated, source: str, code: int) -> None:
    before = one(streaming.database_url, ROW)
    assert call(environment(streaming, RELAY_SOURCE=source), "setup", "--accept-gap").code == code
    assert one(streaming.database_url, ROW) == before


def test_an_accepted_gap_keeps_nothing_of_what_was_published_before(streaming: Isolated) -> None:
    """Transactions of another server, or of another outbox, may have the ids that would be passed over."""
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE relay.checkpoint SET system_identifier = '7', streamed = '{[1,1000000)}', making_slot = true,"
            " filter_snapshot = '1000000:1000000:', filter_end = 'FF/0', round_snapshot = '5:5:', round_seq = 1"
        )
    variables = environment(streaming)
    said = call(variables, "setup")
    assert (said.code, "relay setup --accept-gap" in said.output) == (1, True)
    assert call(variables, "setup", "--accept-gap").code == 0
    kept = "SELECT (snapshot, streamed, making_slot, filter_snapshot, filter_end, round_snapshot, round_seq)::text"
    assert one(streaming.database_url, f"{kept} FROM relay.checkpoint") == "(,{},f,,,,)"


def test_a_relay_is_renamed_as_the_guide_says(ready: Isolated) -> None:
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    statements = re.findall(r"^    (UPDATE relay\.(\w+) SET \w+ = 'new' WHERE \w+ = 'old');$", guide, re.MULTILINE)
    assert {table for _, table in statements} == {"checkpoint", *one(ready.database_url, NAMES_A_RELAY)}
    assert one(ready.database_url, "SELECT relay.note_position('relay', '0')")
    with psycopg.connect(ready.database_url) as connection:
        for statement, _ in statements:
            connection.execute(statement.replace("'old'", "'relay'").encode())
    assert one(ready.database_url, "SELECT array_agg(relay) FROM relay.checkpoint_history") == ["new"]
    variables = environment(ready, RELAY_NAME="new")
    assert call(variables, "setup").code == 0
    found = findings(call(variables, "check", "--json"))
    assert (found["checkpoint.owner"], found["checkpoint.position"]) == ("OK", "OK")


def test_a_relay_gets_another_outbox_table_as_the_guide_says(ready: Isolated, sales: dict[str, str]) -> None:
    assert call(environment(ready), "slot", "drop", "--yes").code == 0
    assert call(sales, "setup").code == 1
    assert call(sales, "setup", "--accept-gap").code == 0
    found = findings(call(sales, "check", "--json"))
    assert (found["checkpoint.owner"], found["checkpoint.position"]) == ("OK", "OK")


def test_a_copied_database_gets_a_relay_of_its_own_as_the_error_says(ready: Isolated) -> None:
    """A copy has the row, with the oid of the database that it was stored in."""
    with psycopg.connect(ready.database_url, autocommit=True) as connection:
        connection.execute("UPDATE relay.checkpoint SET database_oid = 1, database = 'original'")
    said = call(environment(ready), "run")
    assert "stored in database 'original'" in said.output
    assert "set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`" in said.output
    own = environment(ready, RELAY_NAME="copy", RELAY_SLOT=f"{ready.name}_copy")
    assert call(own, "setup").code == 0
    assert findings(call(own, "check", "--json"))["checkpoint.owner"] == "OK"
