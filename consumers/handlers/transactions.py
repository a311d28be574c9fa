"""Transactions of handlers, each of which completes its task under a version check."""

from collections.abc import Awaitable, Callable
from typing import Any, Self

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from consumers.handlers.outcomes import Applied, ClaimLost, Outcome, Unfinished, describe
from consumers.handlers.task import Task
from outboxkit import sql


class Transactions:
    """For handlers in threads."""

    def __init__(self, address: Callable[[], str], *, size: int, timeout: float) -> None:
        self._pool = ConnectionPool(
            address, connection_class=psycopg.Connection[Any], kwargs={"autocommit": True, "prepare_threshold": None},
            min_size=0, max_size=size, timeout=timeout, name="handlers", open=False,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._pool.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close(timeout=1)

    def run(self, task: Task, call: Callable[[psycopg.Connection[Any]], str | None]) -> Outcome:
        try:
            connection = self._pool.getconn()
        except psycopg.OperationalError as error:
            return _unfinished(error, started=False)
        try:
            with connection.transaction():
                parameters = {"id": task.id, "version": task.version, "result": call(connection)}
                if connection.execute(sql.query("task_complete"), parameters).fetchone() is not None:
                    return Applied()
                raise psycopg.Rollback
            return ClaimLost()
        except BaseException as error:
            if connection.broken:
                return _unfinished(error, started=True)
            raise
        finally:
            self._pool.putconn(connection)


class AsyncTransactions:
    """For handlers on the loop."""

    def __init__(self, address: Callable[[], str], *, size: int, timeout: float) -> None:
        self._pool = AsyncConnectionPool(
            address, connection_class=psycopg.AsyncConnection[Any],
            kwargs={"autocommit": True, "prepare_threshold": None},
            min_size=0, max_size=size, timeout=timeout, name="handlers", open=False,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close(timeout=1)

    async def run(self, task: Task, call: Callable[[psycopg.AsyncConnection[Any]], Awaitable[str | None]]) -> Outcome:
        try:
            connection = await self._pool.getconn()
        except psycopg.OperationalError as error:
            return _unfinished(error, started=False)
        try:
            async with connection.transaction():
                parameters = {"id": task.id, "version": task.version, "result": await call(connection)}
                if await (await connection.execute(sql.query("task_complete"), parameters)).fetchone() is not None:
                    return Applied()
                raise psycopg.Rollback
            return ClaimLost()
        except BaseException as error:
            if connection.broken:
                return _unfinished(error, started=True)
            raise
        finally:
            await self._pool.putconn(connection)


def _unfinished(error: BaseException, *, started: bool) -> Unfinished:
    return Unfinished(f"no connection to Postgres for a handler ({describe(error).splitlines()[0]})", started=started)
