"""Commits batches of tasks and learns the outcome of each COMMIT, also when the connection dies during it.

A COMMIT without an answer may have taken place or not. Then a new connection asks for the transaction by its id until
it has ended (https://www.postgresql.org/docs/current/functions-info.html, pg_xact_status), and looks for its first
task afterwards. To look earlier could miss a commit that is still under way. The status alone is not enough: after a
crash the server may give the id of a lost transaction to another one.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import errors as postgres

from outboxkit import sql
from outboxkit.backoff import Backoff
from outboxkit.postgres import recovery_of
from outboxkit.sqlstates import Recovery
from writers.connecting import connect
from writers.errors import OutcomeUnknown, Unavailable, failed, translated, words
from writers.records import NewTask
from writers.transaction import submit_many


@dataclass(frozen=True, slots=True)
class Committed:
    """The tasks exist."""


@dataclass(frozen=True, slots=True)
class NotCommitted:
    """The tasks do not exist, and this transaction will not create them any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """COMMIT was sent and not answered."""

    reason: str
    transaction: str


Outcome = Committed | NotCommitted | InDoubt


class Session:
    """One connection at a time to the database at `url`, replaced when it is lost.

    A batch is tried again for `retry_for` seconds after its first failure, unless the failure is final.
    """

    def __init__(self, url: str, *, retry_for: float) -> None:
        self._url = url
        self._retry_for = retry_for
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def open(self) -> psycopg.AsyncConnection[Any]:
        """Return the connection, a new one if it was lost; raises Unavailable."""
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._url)
        return self._connection

    async def close(self) -> None:
        """Close the connection; a transaction open on it is rolled back."""
        if self._connection is not None:
            await self._connection.close()

    async def commit(self, tasks: Sequence[NewTask], *, wanted: Callable[[], bool]) -> bool:
        """Commit `tasks` in one transaction of their own; after a failure, try again while that is `wanted`.

        Returns whether they were committed. Raises Refused, NotSetUp, NotAllowed or Failed at once, and Unavailable or
        OutcomeUnknown after `retry_for` seconds.
        """
        outcome = await self._attempt(tasks)
        now = asyncio.get_running_loop().time
        deadline, backoff = now() + self._retry_for, Backoff(base=0.05, cap=1.0)
        while not isinstance(outcome, Committed):
            if isinstance(outcome, NotCommitted) and not wanted():
                return False
            if now() > deadline:
                raise self._given_up(outcome, tasks)
            await asyncio.sleep(backoff.next_delay())
            outcome = await (
                self._attempt(tasks) if isinstance(outcome, NotCommitted) else self._resolve(outcome, tasks)
            )
        return True

    async def _attempt(self, tasks: Sequence[NewTask]) -> Outcome:
        """Insert and commit once. A failure before COMMIT is sent leaves no rows."""
        try:
            connection = await self.open()
            transaction = await _insert(connection, tasks)
        except (Unavailable, psycopg.Error) as error:
            await self.close()
            _raise_final(error)
            return NotCommitted(words(error))
        try:
            with translated():
                await connection.commit()
        except psycopg.Error as error:
            _raise_final(error)  # the server answered: it has rolled the transaction back
            return InDoubt(words(error), transaction)
        return Committed()

    async def _resolve(self, doubt: InDoubt, tasks: Sequence[NewTask]) -> Outcome:
        """Ask for the outcome of the transaction; return `doubt` while it cannot be known."""
        try:
            connection = await self.open()
            if await in_progress(connection, doubt.transaction):
                return doubt
            found = await _ask(connection, sql.query("task_exists"), {"id": tasks[0].id})
        except (Unavailable, psycopg.Error):
            return doubt
        return Committed() if found else NotCommitted(doubt.reason)

    def _given_up(self, outcome: NotCommitted | InDoubt, tasks: Sequence[NewTask]) -> Unavailable:
        if isinstance(outcome, InDoubt):
            return OutcomeUnknown(
                f"the connection was lost during COMMIT ({outcome.reason}), and its outcome could not be learned"
                f" for {self._retry_for:g} s",
                remedy=f"when Postgres is back, look for task {tasks[0].id}: all {len(tasks)} tasks of its"
                " transaction exist or none does",
            )
        return Unavailable(
            f"Postgres accepted nothing for {self._retry_for:g} s ({outcome.reason})",
            remedy="the summary counts what was committed; submit the rest when it is back",
        )


def _raise_final(error: Unavailable | psycopg.Error) -> None:
    """Raise Failed for a final error of the server, and a final error of psycopg itself, which is a bug, unchanged."""
    if isinstance(error, Unavailable) or recovery_of(error) is not Recovery.FINAL:
        return
    if error.sqlstate is None:
        raise error
    raise failed(error) from error


async def _insert(connection: psycopg.AsyncConnection[Any], tasks: Sequence[NewTask]) -> str:
    """Write `tasks` in a new transaction, in one round trip, and return the transaction's id."""
    with translated():
        async with connection.pipeline():
            cursor = await connection.execute(sql.query("transaction_id"))
            await submit_many(connection, tasks)
        return str(_only(await cursor.fetchone()))


async def in_progress(connection: psycopg.AsyncConnection[Any], transaction: str) -> bool:
    """Return whether the transaction with that id has neither committed nor rolled back."""
    try:
        return bool(await _ask(connection, sql.query("transaction_in_progress"), {"transaction": transaction}))
    except postgres.InvalidParameterValue:
        return False  # an id that was not given out yet: the server crashed before it stored any of that transaction


async def _ask(connection: psycopg.AsyncConnection[Any], question: LiteralString, about: dict[str, object]) -> object:
    """Ask in a transaction of its own, so that the answer is of now."""
    async with connection.transaction():
        return _only(await (await connection.execute(question, about)).fetchone())


def _only(row: tuple[Any, ...] | None) -> Any:  # noqa: ANN401 - one column of any type
    if row is None:
        raise AssertionError("a SELECT without FROM has a row")
    return row[0]
