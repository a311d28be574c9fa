"""A session of the application, whose transactions end as a test says."""

import threading
from collections.abc import Callable
from typing import LiteralString, Self

import psycopg
from psycopg.sql import SQL, Identifier

from sandbox.machine.waiting import until

PUBLISH = "SELECT outbox.publish('thing', %s, 1, 'changed', '{}')"
SECONDS = 60


class Writer:
    """A session of the application, with one transaction at a time."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url)
        self._committing: threading.Thread | None = None
        self._running: threading.Thread | None = None

    def xid(self) -> int:
        """Draw a transaction id, or return the one that was drawn."""
        row = self._connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
        assert row is not None
        return int(row[0])

    def write(self, *names: str, savepoints: bool = False) -> Self:
        """Write an event for each of `names`, each behind a savepoint of its own if asked for."""
        for number, name in enumerate(names):
            if savepoints:
                self._connection.execute(SQL("SAVEPOINT {}").format(Identifier(f"s{number}")))
            self._connection.execute(PUBLISH, [name])
        return self

    def execute(self, statement: LiteralString, *parameters: object) -> Self:
        """Run a statement in the transaction."""
        self._connection.execute(statement, parameters)
        return self

    def copy(self, statement: LiteralString, *values: object) -> Self:
        """Load one row."""
        with self._connection.cursor().copy(statement) as copy:
            copy.write_row(values)
        return self

    def start(self, statement: LiteralString, *parameters: object) -> None:
        """Run a statement that lasts, without waiting for it."""
        self._connection.autocommit = True
        self._running = threading.Thread(target=self._connection.execute, args=(statement, parameters))
        self._running.start()

    def prepare(self, name: str) -> None:
        """Prepare the transaction; it is ended by `commit_prepared`."""
        self._connection.execute(f"PREPARE TRANSACTION '{name}'")
        self._connection.commit()

    def commit_prepared(self, name: str, *, hidden: bool = False) -> None:
        """Commit it; a `hidden` one is in the WAL, and nobody sees it until `show`."""
        self._connection.autocommit = True
        self._commit(lambda: self._connection.execute(f"COMMIT PREPARED '{name}'"), hidden=hidden)

    def commit(self, *, hidden: bool = False) -> None:
        """Commit the transaction; a `hidden` one is in the WAL, and nobody sees it until `show`."""
        self._commit(self._connection.commit, hidden=hidden)

    def rollback(self) -> None:
        """Roll back."""
        self._connection.rollback()

    def show(self) -> None:
        """End the wait for the standby: the transaction becomes visible."""
        assert self._committing is not None
        self._connection.cancel()
        self._committing.join()
        self._committing = None

    def close(self) -> None:
        """End the session."""
        if self._committing is not None:
            self.show()
        if self._running is not None:
            self._running.join()
        self._connection.close()

    def _commit(self, commit: Callable[[], object], *, hidden: bool) -> None:
        if not hidden:
            commit()
            return
        self._connection.execute("SET synchronous_commit = on")  # holds outside the transaction as well
        self._committing = threading.Thread(target=commit)
        self._committing.start()
        with psycopg.connect(self._connection.info.dsn, password=self._connection.info.password) as other:
            other.autocommit = True
            until(
                lambda: other.execute(
                    "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'",
                    [self._connection.info.backend_pid],
                ).rowcount,
                what="the commit waits for the standby", seconds=SECONDS, every=0.01,
            )  # fmt: skip
