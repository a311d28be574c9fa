"""`relay switch` on real servers: what it stores, what it refuses, and how it ends when no relay does it yet."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import LiteralString

import psycopg
import pytest
from typer.testing import CliRunner, Result

from relay.operating.cli import app
from sandbox import Isolated
from tests.integration.relay.operating.setup import shop
from tests.integration.relay.stage import Said, call, environment, one, streams
from tests.support.roles import alter, role
from tests.support.stage import Stage

ACTIVE = "SELECT pg_advisory_lock(hashtextextended('outbox-relay relay', 0))"
WANTED = "SELECT wanted FROM relay.checkpoint WHERE name = 'relay'"


@contextmanager
def active(database_url: str) -> Iterator[None]:
    """Have the lock of the active relay, and do nothing that it is asked for."""
    with psycopg.connect(database_url, autocommit=True, application_name="relay leader") as connection:
        connection.execute(ACTIVE)
        yield


def asked(isolated: Isolated, to: str, *options: str, **changes: str) -> Said:
    """Ask for a source, and do not wait for it."""
    return call(environment(isolated, **changes), "switch", "--to", to, "--timeout", "0", *options)


def ended(isolated: Isolated, to: str, *options: str, **changes: str) -> Result:
    """Do the same; return also what is printed to standard error."""
    arguments = ["switch", "--to", to, "--timeout", "0", *options]
    return CliRunner().invoke(app, arguments, env=environment(isolated, **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"RELAY_MESSAGE_PREFIX": "shop"}, "an outbox of logical messages has no table to poll"),
        (shop.settings(), "shop.outbox has no column tx: a poll cannot tell which rows are new"),
    ],
    ids=["messages", "without tx"],
)
def test_polling_is_refused_and_not_stored_where_the_relay_cannot_poll(
    isolated: Isolated, changes: dict[str, str], says: str
) -> None:
    shop.create(isolated)
    assert call(environment(isolated, **changes), "setup").code == 0
    said = asked(isolated, "polling", **changes)
    assert said.code == 1
    assert said.output.startswith(f"{says}; nothing was changed - ")
    assert one(isolated.database_url, WANTED) == "auto"


def test_the_remedy_of_a_table_without_tx_lets_it_be_polled(isolated: Isolated) -> None:
    shop.create(isolated)
    assert call(shop.variables(isolated), "setup").code == 0
    assert "run `relay setup --add-tx-column`" in asked(isolated, "polling", **shop.settings()).output
    assert call(shop.variables(isolated), "setup", "--add-tx-column").code == 0
    with psycopg.connect(isolated.database_url) as connection:  # as the relay does when it has streamed for a second
        connection.execute("UPDATE relay.checkpoint SET snapshot = pg_current_snapshot()")
    asked(isolated, "polling", **shop.settings())
    assert one(isolated.database_url, WANTED) == "polling"


def test_polling_is_refused_to_settings_of_another_outbox(ready: Isolated) -> None:
    said = asked(ready, "polling", **shop.settings())
    assert said.code == 1
    assert "belongs to outbox.event, and this relay is set to shop.outbox" in said.output
    assert one(ready.database_url, WANTED) == "auto"


def test_polling_is_refused_without_a_snapshot_to_poll_from(streaming: Isolated) -> None:
    with psycopg.connect(streaming.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET snapshot = NULL")
    said = asked(streaming, "polling")
    assert said.code == 1
    assert "no snapshot is stored" in said.output
    assert one(streaming.database_url, WANTED) == "auto"


def test_the_right_to_read_the_table_is_judged_for_the_active_relay_and_not_for_an_operator(ready: Isolated) -> None:
    with role(ready.database_url, "LOGIN", secrets.token_hex(8)) as url:
        name = f"{ready.name}_role"
        alter(ready.database_url, "REVOKE SELECT ON outbox.event FROM {}", name)
        with active(url):
            said = asked(ready, "polling", RELAY_DATABASE_URL=url)
            assert said.code == 1
            assert f"role '{name}' may not read outbox.event, which a poll does; nothing was changed" in said.output
            assert one(ready.database_url, WANTED) == "auto"
        with active(ready.database_url):
            asked(ready, "polling", RELAY_DATABASE_URL=url)
        assert one(ready.database_url, WANTED) == "polling"


@pytest.mark.parametrize("before", ["auto", "wal"])
def test_what_takes_it_back_is_what_was_asked_for_before(streaming: Isolated, before: str) -> None:
    with psycopg.connect(streaming.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET wanted = %s", [before])
    assert f"`relay switch --to {before}` takes it back" in ended(streaming, "polling").stderr
    assert "takes it back" not in ended(streaming, "polling").stderr, "the same was asked for before"


@pytest.mark.parametrize("mode", ["wal", "polling"])
@pytest.mark.parametrize("to", ["wal", "polling", "auto"])
def test_without_an_active_relay_it_is_stored_and_said_that_nobody_does_it(ready: Isolated, mode: str, to: str) -> None:
    if mode == "wal":
        streams(ready)
    with psycopg.connect(ready.database_url, autocommit=True, application_name="relay leader"):  # as of a standby
        result = ended(ready, to, "--json")
        assert result.exit_code == 3
        assert (json.loads(result.stdout)["active"], json.loads(result.stdout)["wanted"]) == (False, to)
        assert result.stderr.startswith(f"relay: {to} is stored, and no relay 'relay' is active - start one")
        assert "reads" not in ended(ready, to).stdout
    assert one(ready.database_url, WANTED) == to


def test_an_active_relay_that_does_not_do_it_in_time_has_the_same_exit_code(streaming: Isolated) -> None:
    with active(streaming.database_url):
        late, done = ended(streaming, "polling"), ended(streaming, "wal")
        assert (late.exit_code, done.exit_code, ended(streaming, "auto").exit_code) == (3, 0, 0)
    assert late.stderr.startswith("relay: the relay reads wal after 0 s - the relay's log says why")
    assert done.stdout == "the relay reads wal; it stays so until `relay switch --to auto`\n"


NOTED = (
    "INSERT INTO relay.handover (relay, from_mode, to_mode, reason, detail)"
    " VALUES ('relay', 'wal', 'polling', 'operator', 'as asked for')"
)


@pytest.mark.parametrize("then", [[NOTED], []])
def test_it_waits_for_what_the_relay_notes_of_the_change_but_not_for_ever(
    streaming: Isolated, monkeypatch: pytest.MonkeyPatch, then: list[LiteralString]
) -> None:
    """The relay stores the new mode first, and then the change: who looks in between must not miss it."""
    with active(streaming.database_url), psycopg.connect(streaming.database_url, autocommit=True) as relay:
        steps = iter(["UPDATE relay.checkpoint SET mode = 'polling'", *then])

        def sleep(seconds: float) -> None:  # the relay does one step between two looks
            step = next(steps, None)
            relay.execute(step) if step else time.sleep(seconds)

        monkeypatch.setattr("relay.operating.switch.time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
        said = call(environment(streaming), "switch", "--to", "polling", "--timeout", "30")
    assert said.code == 0, said.output
    assert ("from wal to polling, as asked for" in said.output) == bool(then)
    assert "the relay reads polling" in said.output


def test_a_running_relay_does_it_and_so_does_the_next_one(stage: Stage) -> None:
    assert stage.run("relay", "switch", "--to", "polling", "--timeout", "0").process.returncode == 3
    relay = stage.start("relay", "run")
    switched = stage.run("relay", "switch", "--to", "polling")
    assert switched.process.returncode == 0, switched.tail()
    switched = stage.run("relay", "switch", "--to", "wal")
    assert switched.process.returncode == 0, switched.tail()
    assert "from polling to wal, over the slot as it stands" in switched.stdout
    assert relay.terminate() == 0, relay.tail()


@pytest.mark.parametrize("source", ["wal", "polling"])
def test_what_the_settings_fix_can_be_asked_for_and_nothing_else(ready: Isolated, source: str) -> None:
    same = asked(ready, source, RELAY_SOURCE=source)
    assert same.code == 0
    assert same.output.startswith(f"RELAY_SOURCE is {source}: the relay reads that already")
    found = asked(ready, source, "--json", RELAY_SOURCE=source).json
    assert (found["mode"], found["active"], found["changes"]) == (source, None, [])
    for other in {"wal", "polling", "auto"} - {source}:
        refused = asked(ready, other, RELAY_SOURCE=source)
        assert refused.code == 1
        assert "nothing was changed - set RELAY_SOURCE=auto, and start the relay again" in refused.output
    assert one(ready.database_url, WANTED) == "auto"
