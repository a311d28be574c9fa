"""What a snapshot sees counts once it is flushed: a crash takes back what was not, and gives its id out again."""

import asyncio
from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from outboxkit.sql.apply import apply
from sandbox.lifetime import private
from sandbox.servers.backend import Extra
from sandbox.servers.postgres import Postgres
from tests.integration.relay.sources.polling.polls import a_round, outbox
from tests.integration.relay.stage import one

# Nothing but a commit that waits for it flushes the WAL, and the WAL writer once in ten seconds: at any moment.
_LAZY = "wal_writer_delay = 10s\nwal_writer_flush_after = 1GB\nbgwriter_lru_maxpages = 0\nautovacuum = off\n"
_TRIES = 5
UNFLUSHED: LiteralString = "SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()"


@pytest.fixture(scope="module")
def lazy() -> Iterator[Postgres]:
    """Start a Postgres that leaves async commits unflushed for seconds."""
    with private.postgres(Extra(_LAZY)) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            apply(connection)
            connection.execute("CREATE TABLE elsewhere (n integer)")
        yield server


def _commit_unflushed(url: str, statement: LiteralString) -> int:
    """Commit `statement` without waiting for the WAL; return the transaction's id. Some may be flushed before it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        connection.execute("SET synchronous_commit = off")
        for _ in range(_TRIES):
            row = connection.execute(f"{statement} RETURNING pg_current_xact_id()::text").fetchone()
            assert row is not None
            if connection.execute(UNFLUSHED).fetchone() == (True,):
                return int(row[0])
    pytest.fail("the server has flushed each of them by itself")


ELSEWHERE: LiteralString = "INSERT INTO elsewhere VALUES (1)"
EVENT: LiteralString = (
    "INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload)"
    " VALUES ('order', 'a', 1, 'paid', '{}')"
)


@pytest.mark.parametrize("statement", [ELSEWHERE, EVENT], ids=["an empty poll", "a poll with a row"])
def test_what_a_poll_saw_survives_a_crash_of_the_server(lazy: Postgres, statement: LiteralString) -> None:
    async def scenario() -> int:
        async with outbox(lazy.url) as found:
            start = await found.now()
            xid = _commit_unflushed(lazy.url, statement)
            async with found.polled(start) as stream:
                assert bool(await a_round(stream)) is (statement == EVENT)
            return xid

    xid = asyncio.run(scenario())
    lazy.kill()
    lazy.start()
    assert one(lazy.url, "SELECT pg_xact_status(%s::text::xid8)", str(xid)) == "committed"


def test_without_a_poll_the_crash_takes_it_back(lazy: Postgres) -> None:
    """A control: the server loses such commits, and gives their ids out again."""
    assert any(_taken_back(lazy) for _ in range(_TRIES))


def _taken_back(lazy: Postgres) -> bool:
    """Kill the server behind a commit; return whether the id is given out again."""
    xid = _commit_unflushed(lazy.url, ELSEWHERE)
    lazy.kill()
    lazy.start()
    return bool(one(lazy.url, "SELECT pg_current_xact_id()::text::bigint <= %s", xid))
