"""Replicas of one relay, each with the session by which one of them is the active one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg

from relay.storage.leadership import Leadership
from relay.storage.sessions.session import Session
from sandbox import Isolated

PID: LiteralString = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
END: LiteralString = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"


@asynccontextmanager
async def replica(
    isolated: Isolated, who: str, *, relay: str = "relay", url: str | None = None
) -> AsyncIterator[Leadership]:
    """Open the replica `who` of `relay`; it has not become the active one. `url` leads to the server another way."""
    async with Session(
        lambda: url or isolated.database_url, name=who, slot=isolated.name, prepared=["session_leader"]
    ) as session:
        yield Leadership(session, name=relay)


async def pid(isolated: Isolated, who: str) -> int | None:
    """Return the server process of `who`; None if it has none."""
    async with await psycopg.AsyncConnection.connect(isolated.database_url) as connection:
        row = await (await connection.execute(PID, [who])).fetchone()
    return None if row is None else row[0]


async def end(isolated: Isolated, who: str) -> None:
    """End the session of `who`, as an operator does; returns when its process has ended."""
    async with await psycopg.AsyncConnection.connect(isolated.database_url) as connection:
        await connection.execute(END, [who])
