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

# Nothing but a commit that waits for it flushes the WAL.
_LAZY = "wal_writer_delay = 10s\nwal_writer_flush_after = 1GB\nbgwriter_lru_maxpages = 0\nautovacuum = off\n"
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
    """Commit `statement` without waiting for the WAL; return the transaction's id."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        connection.execute("SET synchronous_commit = off")
        row = connection.execute(f"{statement} RETURNING pg_current_xact_id()::text").fetchone()
        assert row is not None
        assert connection.execute(UNFLUSHED).fetchone() == (True,), "the server has flushed it by itself"
        return int(row[0])


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
                assert len(await a_round(stream)) == (1 if statement == EVENT else 0)
            return xid

    xid = asyncio.run(scenario())
    lazy.kill()
    lazy.start()
    assert one(lazy.url, "SELECT pg_xact_status(%s::text::xid8)", str(xid)) == "committed"


def test_without_a_poll_the_crash_takes_it_back(lazy: Postgres) -> None:
    """A control: the server loses such commits, and gives their ids out again."""
    xid = _commit_unflushed(lazy.url, ELSEWHERE)
    lazy.kill()
    lazy.start()
    assert one(lazy.url, "SELECT pg_current_xact_id()::text::bigint") <= xid
