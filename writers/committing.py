"""Commits batches of tasks, and learns what became of each, also when the connection dies during COMMIT.

A COMMIT whose answer is lost may have happened or not. Then the transaction is asked about by its id on a new
connection until it has ended (https://www.postgresql.org/docs/current/functions-info.html, pg_xact_status), and
then its first task is looked for. Looking before it has ended could miss a commit that is still on its way; the
status alone would not do, since after a crash of the server a lost transaction's id may be given out again.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import errors as postgres

from outboxkit import sql
from outboxkit.backoff import Backoff
from writers.connecting import connect
from writers.errors import OutcomeUnknown, Unavailable, translated, words
from writers.records import NewTask
from writers.transaction import submit_many

# A lost connection, a serialization failure, a deadlock; a server that is not the primary, or not any more.
_TRANSIENT = (psycopg.OperationalError, postgres.ReadOnlySqlTransaction)


@dataclass(frozen=True, slots=True)
class Committed:
    """The tasks are there."""


@dataclass(frozen=True, slots=True)
class NotCommitted:
    """The tasks are not there, and will not be."""

    reason: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """COMMIT was sent and not answered."""

    reason: str
    transaction: str


Outcome = Committed | NotCommitted | InDoubt


class Session:
    """One connection at a time to the database at `url`, replaced when it is lost.

    `patience` is for how many seconds after its first failure a batch is tried again.
    """

    def __init__(self, url: str, *, patience: float) -> None:
        self._url = url
        self._patience = patience
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def open(self) -> psycopg.AsyncConnection[Any]:
        """Return the connection, made anew if it was lost; raises Unavailable."""
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._url)
        return self._connection

    async def close(self) -> None:
        """Close the connection; a transaction open on it is rolled back."""
        if self._connection is not None:
            await self._connection.close()

    async def commit(self, tasks: Sequence[NewTask], *, wanted: Callable[[], bool]) -> bool:
        """Commit `tasks` in one transaction of their own, trying again for as long as that is `wanted`.

        Returns whether they were committed. Raises Refused, NotSetUp or NotAllowed at once, and Unavailable or
        OutcomeUnknown when patience has run out.
        """
        outcome = await self._attempt(tasks)
        now = asyncio.get_running_loop().time
        give_up, backoff = now() + self._patience, Backoff(base=0.05, cap=1.0)
        while not isinstance(outcome, Committed):
            if isinstance(outcome, NotCommitted) and not wanted():
                return False
            if now() > give_up:
                raise self._given_up(outcome, tasks)
            await asyncio.sleep(backoff.next_delay())
            outcome = await (
                self._attempt(tasks) if isinstance(outcome, NotCommitted) else self._resolve(outcome, tasks)
            )
        return True

    async def _attempt(self, tasks: Sequence[NewTask]) -> Outcome:
        """Insert and commit once. Until COMMIT is sent, whatever goes wrong leaves nothing behind."""
        try:
            connection = await self.open()
            transaction = await _insert(connection, tasks)
        except (Unavailable, *_TRANSIENT) as error:
            await self.close()
            return NotCommitted(words(error))
        try:
            with translated():
                await connection.commit()
        except psycopg.OperationalError as error:
            return InDoubt(words(error), transaction)
        return Committed()

    async def _resolve(self, doubt: InDoubt, tasks: Sequence[NewTask]) -> Outcome:
        """Ask what became of the transaction: the doubt itself while that cannot be told yet."""
        try:
            connection = await self.open()
            if await in_progress(connection, doubt.transaction):
                return doubt
            there = await _ask(connection, sql.query("task_exists"), {"id": tasks[0].id})
        except (Unavailable, *_TRANSIENT):
            return doubt
        return Committed() if there else NotCommitted(doubt.reason)

    def _given_up(self, outcome: NotCommitted | InDoubt, tasks: Sequence[NewTask]) -> Unavailable:
        if isinstance(outcome, InDoubt):
            return OutcomeUnknown(
                f"the connection was lost during COMMIT ({outcome.reason}), and its outcome could not be learned"
                f" for {self._patience:g} s",
                remedy=f"once Postgres is back, look for task {tasks[0].id}: its {len(tasks)} went together",
            )
        return Unavailable(
            f"Postgres took nothing for {self._patience:g} s ({outcome.reason})",
            remedy="what was committed is told; submit the rest when it is back",
        )


async def _insert(connection: psycopg.AsyncConnection[Any], tasks: Sequence[NewTask]) -> str:
    """Write `tasks` in a new transaction, in one round trip, and return the transaction's id."""
    with translated():
        async with connection.pipeline():
            cursor = await connection.execute(sql.query("transaction_id"))
            await submit_many(connection, tasks)
        return str(_only(await cursor.fetchone()))


async def in_progress(connection: psycopg.AsyncConnection[Any], transaction: str) -> bool:
    """Tell whether the transaction with that id has neither committed nor rolled back yet."""
    try:
        return bool(await _ask(connection, sql.query("transaction_in_progress"), {"transaction": transaction}))
    except postgres.InvalidParameterValue:
        return False  # an id from the future: the server crashed before it kept anything of that transaction


async def _ask(connection: psycopg.AsyncConnection[Any], question: LiteralString, about: dict[str, object]) -> object:
    """Ask in a transaction of its own: the answer must not be as old as the one before it."""
    async with connection.transaction():
        return _only(await (await connection.execute(question, about)).fetchone())


def _only(row: tuple[Any, ...] | None) -> Any:  # noqa: ANN401 - one column of any type
    if row is None:
        raise AssertionError("a SELECT without FROM has a row")
    return row[0]
