"""Postgres refuses something for a while: a running relay says it once, tries again, and goes on by itself."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest

from sandbox.machine.waiting import until
from tests.support.commands import Command
from tests.support.roles import alter, role
from tests.support.stage import Stage

PARKED = "SELECT count(*) FROM relay.parked"
WAITING = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE usename = %s AND wait_event_type = 'Lock'"
PARKING = """
    SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity
    WHERE usename = %s AND application_name = 'relay parking'
"""
TRIGGER = """
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {} RETURN NEW; END$$;
    CREATE TRIGGER refuse BEFORE INSERT ON relay.parked FOR EACH ROW EXECUTE FUNCTION public.refuse()
"""
SLOW_SECONDS = 14
EVENTS = "parked events"

Refusal = Callable[[Stage, str], AbstractContextManager[None]]


@pytest.fixture
def relay_url(stage: Stage) -> Iterator[str]:
    """Return the URL of a role with only the relay's rights; the stage is set up, and no queue is bound."""
    stage.set_up().unbind()
    with role(stage.isolated.database_url, "LOGIN REPLICATION", "secret") as url:
        yield url


def run(stage: Stage, statements: LiteralString | bytes) -> None:
    with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
        connection.execute(statements)


@contextmanager
def locked(stage: Stage) -> Iterator[None]:
    with psycopg.connect(stage.isolated.database_url) as connection:
        connection.execute("LOCK TABLE relay.parked IN EXCLUSIVE MODE")  # whoever counts parked events goes on
        yield


def renew(stage: Stage, name: str) -> None:
    """End the session that parks, and wait until it is gone: the next one begins with the role's settings."""
    assert stage.value(PARKING, name) <= 1


@contextmanager
def read_only(stage: Stage, name: str) -> Iterator[None]:
    """Let new sessions of the role only read."""
    alter(stage.isolated.database_url, "ALTER ROLE {} SET default_transaction_read_only = on", name)
    renew(stage, name)
    yield
    alter(stage.isolated.database_url, "ALTER ROLE {} RESET ALL", name)


@contextmanager
def impatient(stage: Stage, name: str) -> Iterator[None]:
    """Let new sessions of the role wait for a lock for a moment only."""
    alter(stage.isolated.database_url, "ALTER ROLE {} SET lock_timeout = '100ms'", name)
    renew(stage, name)
    with locked(stage):
        yield
    alter(stage.isolated.database_url, "ALTER ROLE {} RESET ALL", name)


@contextmanager
def cancelled(stage: Stage, name: str) -> Iterator[None]:
    """Cancel whatever of the role waits for a lock, again and again."""
    over = threading.Event()

    def cancel() -> None:
        with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
            while not over.wait(0.05):
                connection.execute(WAITING, [name])

    thread = threading.Thread(target=cancel)
    with locked(stage):
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def by_a_trigger(body: str, stage: Stage, _: str) -> Iterator[None]:
    run(stage, TRIGGER.replace("{}", body).encode())
    yield
    run(stage, "DROP TRIGGER refuse ON relay.parked")


def parks(relay: Command, stage: Stage, *, seconds: float = 30) -> None:
    before = stage.value(PARKED)
    stage.publish_in_one_transaction(1, f"after {before}")
    until(lambda: stage.value(PARKED) > before, what="it is parked", seconds=seconds)
    assert relay.running


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (read_only, "takes no writes"),
        (impatient, "55P03"),
        (cancelled, "57014"),
        (partial(by_a_trigger, "RAISE 'no space left' USING ERRCODE = '53100';"), "disk is full"),
        (partial(by_a_trigger, "RAISE 'no such number' USING ERRCODE = '22003';"), "22003"),
    ],
    ids=["read-only", "lock_timeout", "cancelled", "disk full", "final"],
)
def test_a_parking_that_postgres_refuses_for_a_while_is_said_once_and_done_afterwards(
    stage: Stage, relay_url: str, refusal: Refusal, reason: str
) -> None:
    relay = stage.start("relay", "run", RELAY_DATABASE_URL=relay_url)
    relay.streams()
    with refusal(stage, str(urlsplit(relay_url).username)):
        stage.publish_in_one_transaction(1, "held")
        assert reason in relay.logged("not stored", what=EVENTS)["reason"]
        assert relay.outlives(3), relay.tail()
    until(lambda: stage.value(PARKED) == 1, what="it is parked", seconds=30)
    relay.logged("stored again", what=EVENTS)
    parks(relay, stage)
    assert relay.terminate() == 0, relay.tail()
    # The session that is ended to begin with may be looking for redriven events just then, which is an incident too.
    refusals = [line for line in relay.log if line["event"] == "not stored" and line["what"] == EVENTS]
    assert len(refusals) == 1, relay.tail()
    assert relay.sources == ["polling", "wal"]


def test_a_parking_that_takes_long_leaves_the_stream_alone(stage: Stage, relay_url: str) -> None:
    relay = stage.start("relay", "run", RELAY_DATABASE_URL=relay_url)
    relay.streams()
    with by_a_trigger(f"PERFORM pg_sleep({SLOW_SECONDS});", stage, ""):
        parks(relay, stage, seconds=SLOW_SECONDS + 60)
    assert relay.terminate() == 0, relay.tail()
    events = [line["event"] for line in relay.log]
    assert relay.sources == ["polling", "wal"]
    assert "source not available" not in events


# With their arguments, of which there is one more from PostgreSQL 17 on.
_EMIT: LiteralString = """
    SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc WHERE proname = 'pg_logical_emit_message'
"""


def test_a_fence_that_may_not_be_written_is_said_once_and_written_again_when_it_may(
    stage: Stage, relay_url: str
) -> None:
    relay = stage.start("relay", "run", RELAY_DATABASE_URL=relay_url)
    relay.streams()
    with psycopg.connect(stage.isolated.database_url) as connection:
        functions = connection.execute(_EMIT).fetchone()
    assert functions is not None
    for count in (1, 2):
        run(stage, f"REVOKE EXECUTE ON FUNCTION {functions[0]} FROM PUBLIC".encode())
        _says(relay, "not stored", count)
        assert relay.outlives(3), relay.tail()
        run(stage, f"GRANT EXECUTE ON FUNCTION {functions[0]} TO PUBLIC".encode())
        _says(relay, "stored again", count)
    assert _said(relay, "not stored") == 2
    assert relay.sources == ["polling", "wal"]
    assert relay.terminate() == 0, relay.tail()


def _says(relay: Command, event: str, count: int) -> None:
    until(lambda: _said(relay, event) == count, what=f"it logs {event!r} for the {count}. time", seconds=30)


def _said(relay: Command, event: str) -> int:
    return sum(line["event"] == event for line in relay.log)
