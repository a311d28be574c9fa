"""The pool in this process: what a transaction may take, and when a busy instance is still alive."""

import asyncio

import psycopg
import pytest

from sandbox import Isolated
from tests.support.proxy import Proxy
from writers.service.contract.problems import Answered
from writers.service.postgres import database
from writers.service.postgres.database import Database


def pool(url: str) -> Database:
    """Return a pool of one session."""
    return Database(lambda: url, name="a test", size=1, wait=0.2)


def test_a_transaction_that_takes_too_long_is_rolled_back_and_its_session_replaced(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> Answered:
        async with pool(isolated.database_url) as one:
            await one.ask("demo_create", {"count": 1})
            monkeypatch.setattr(database, "LIMIT", 0.3)
            with psycopg.connect(isolated.database_url) as other:
                other.execute("LOCK TABLE tasks.task")
                with pytest.raises(Answered) as slow:
                    await one.ask("demo_create", {"count": 1})
            assert not one.up
            async with asyncio.timeout(20):
                while not await one.alive():  # the pool connects anew
                    pass
            return slow.value

    slow = asyncio.run(run())
    assert (slow.slug, slow.status_code) == ("database-unavailable", 503)
    assert "nothing was written" in slow.detail
    with psycopg.connect(isolated.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM tasks.task").fetchall() == [(1,)]


def test_of_a_commit_that_takes_too_long_the_outcome_is_not_known(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(_: int, to_server: bool, sent: bytes) -> None:  # noqa: FBT001 - the proxy's
        if to_server and b"COMMIT" in sent and armed:
            link.swallow_to_client.set()

    armed: list[bool] = []

    async def run() -> Answered:
        async with pool(link.url) as one:
            await one.ask("demo_create", {"count": 1})
            monkeypatch.setattr(database, "LIMIT", 0.3)
            armed.append(True)
            with pytest.raises(Answered) as slow:
                await one.ask("demo_create", {"count": 1})
            return slow.value

    with Proxy(isolated.database_url, watch) as link:
        slow = asyncio.run(run())
    assert slow.slug == "database-unavailable"
    assert "it is not known" in slow.detail
    assert "look first" in slow.detail


def test_while_every_session_is_busy_it_is_alive_if_one_was_free_lately(
    isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> list[bool]:
        async with pool(isolated.database_url) as one:
            found = [await one.alive()]
            async with one.transaction():
                found.append(await one.alive())
                monkeypatch.setattr(database, "_LATELY", 0.0)
                found.append(await one.alive())
            return found

    assert asyncio.run(run()) == [True, True, False]
