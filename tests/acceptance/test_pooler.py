"""A relay behind a connection pooler: one that refuses replication ends the start, and only that; no relay polls."""

import json
from collections.abc import Iterator

import pytest

from sandbox.machine.waiting import until
from tests.support.pooler import Pooler
from tests.support.refusing import refusal
from tests.support.stage import Stage

NO_REPLICATION = "a connection pooler lets no replication through to Postgres"
IN_BETWEEN = "a connection pooler is between the relay and Postgres: it would keep the lock of the active relay"


@pytest.fixture
def new(stage: Stage) -> Iterator[Pooler]:
    """Yield a pooler in front of a database on which `relay setup` has run."""
    stage.set_up()
    with Pooler(stage.isolated.database_url) as pooler:
        yield pooler


@pytest.fixture
def pooler(stage: Stage, new: Pooler) -> Pooler:
    """Return a pooler in front of a database where a relay has streamed, so that the next one begins with the WAL."""
    relay = stage.start("relay", "run")
    relay.streams()
    assert relay.terminate() == 0, relay.tail()
    return new


@pytest.mark.parametrize("command", ["run", "tail"])
def test_the_start_ends_with_the_reason_and_what_to_do(command: str, stage: Stage, pooler: Pooler) -> None:
    line = refusal(stage, "relay", command, RELAY_DATABASE_URL=pooler.url, RELAY_SOURCE="wal")
    assert NO_REPLICATION in line
    assert "unsupported startup parameter: replication" in line
    assert "set RELAY_DATABASE_URL to Postgres itself" in line
    assert pooler.refused == 1  # it was not tried again


def test_a_relay_that_could_poll_instead_is_refused_too(stage: Stage, pooler: Pooler) -> None:
    line = refusal(stage, RELAY_DATABASE_URL=pooler.url)
    assert IN_BETWEEN in line
    assert "set RELAY_DATABASE_URL to Postgres itself" in line
    assert pooler.refused == 1


def test_a_first_start_which_polls_is_refused(stage: Stage, new: Pooler) -> None:
    new.replicates.set()
    line = refusal(stage, RELAY_DATABASE_URL=new.url)
    assert IN_BETWEEN in line
    assert "set RELAY_DATABASE_URL to Postgres itself" in line


def test_check_says_the_same(stage: Stage, new: Pooler) -> None:
    check = stage.run("relay", "check", "--json", RELAY_DATABASE_URL=new.url)
    assert check.process.returncode == 3
    found = {each["id"]: each for each in json.loads(check.stdout)["checks"]}
    replication = found["postgres.replication"]
    assert replication["status"] == "FAIL"
    assert "unsupported startup parameter: replication" in replication["summary"]
    assert "set RELAY_DATABASE_URL to Postgres itself" in replication["remedy"]
    assert found["postgres.pooler"]["status"] == "WARN"


@pytest.mark.parametrize(("source", "reason"), [("wal", NO_REPLICATION), ("auto", IN_BETWEEN)])
def test_a_relay_that_has_streamed_tries_again(stage: Stage, pooler: Pooler, source: str, reason: str) -> None:
    pooler.replicates.set()
    relay = stage.start("relay", "run", RELAY_DATABASE_URL=pooler.url, RELAY_SOURCE=source)
    relay.streams()
    pooler.replicates.clear()
    pooler.cut()
    relay.complains(reason)
    until(lambda: pooler.refused > 1, what="it was refused, and tried again", seconds=30)
    pooler.replicates.set()
    streamed = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    until(lambda: stage.value(streamed, stage.isolated.name), what="it streams again", seconds=30)
    assert relay.running
    assert set(relay.sources) == {"wal"}
