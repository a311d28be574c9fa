"""Writers that do everything that makes a hand-over hard, and keep order per aggregate all the same.

Transactions of random length that overlap, savepoints, prepared transactions, asynchronous commits, rollbacks, COPY,
serializable ones, and commits that wait for a standby that is not there: those are written in the WAL long before they
are visible. Each takes the lock of its aggregates before it writes an event, so events commit in the order of versions.
"""

import random
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any, Self

import psycopg

from tests.support.threads import Threads

AGGREGATES = 30
_CREATE = """
CREATE TABLE thing (id integer PRIMARY KEY, version bigint NOT NULL);
CREATE TABLE noise (x integer);
INSERT INTO thing SELECT n, 0 FROM generate_series(1, 60) AS n
"""
_RAISE = "UPDATE thing SET version = version + 1 WHERE id = %s RETURNING version"
_PUBLISH = "SELECT outbox.publish('thing', %s, %s, 'changed', '{}'::jsonb)"
_COPY = "COPY outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload) FROM stdin"
_WAITING = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event = 'SyncRep'
  AND state_change < clock_timestamp() - interval '500 ms'
"""
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
_BROKEN = (psycopg.OperationalError, psycopg.InterfaceError)

# The commits of some wait for a standby; they have aggregates of their own, whose locks they keep meanwhile.
_WRITERS = ("local", "local", "local", "off", "off", "on", "on", "local")


class Writers(Threads):
    """Eight writers in threads, within the block; `kinds` counts what they did."""

    def __init__(self, database_url: str, *, seed: int) -> None:
        super().__init__(
            [
                partial(self._write, random.Random(f"{seed} {number}"), sync, number)  # noqa: S311 - load
                for number, sync in enumerate(_WRITERS)
            ]
        )
        self._url = database_url
        self._over = threading.Event()
        self.kinds: Counter[str] = Counter()
        with psycopg.connect(database_url) as connection:
            connection.execute(_CREATE)
        self._releaser = threading.Thread(target=self._release)

    def __enter__(self) -> Self:
        self._releaser.start()
        return super().__enter__()

    def stop(self) -> None:
        """Finish what is open, and end what is prepared; raises what a writer raised."""
        try:
            super().stop()
        finally:
            self._over.set()
            self._releaser.join()
            with psycopg.connect(self._url, autocommit=True) as connection:
                for (gid,) in connection.execute(_PREPARED).fetchall():
                    connection.execute(f"COMMIT PREPARED '{gid}'")

    def _write(self, draw: random.Random, sync: str, number: int) -> None:
        while not self._stop.is_set():
            with suppress(*_BROKEN), psycopg.connect(self._url) as connection:
                connection.execute(f"SET synchronous_commit = {sync}")
                connection.commit()
                while not self._stop.is_set():
                    self._transaction(connection, draw, sync, number)
            self._stop.wait(0.05)

    def _transaction(self, connection: psycopg.Connection[Any], draw: random.Random, sync: str, number: int) -> None:
        try:
            self._steps(connection, draw, sync, number)
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.QueryCanceled):
            connection.rollback()

    def _steps(self, connection: psycopg.Connection[Any], draw: random.Random, sync: str, number: int) -> None:
        if draw.random() < 0.1:
            connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            self.kinds["serializable"] += 1
        if draw.random() < 0.4:  # an id long before the first event
            connection.execute("INSERT INTO noise VALUES (1)")
        self._pause(draw, 0.02)
        if draw.random() < 0.03:
            for place in range(200):
                connection.execute(f"SAVEPOINT s{place}")
                connection.execute("INSERT INTO noise VALUES (1)")
            self.kinds["200 savepoints"] += 1
        first = 31 if sync == "on" else 1
        # In one order, so that transactions wait and do not deadlock.
        for thing in sorted(draw.sample(range(first, first + AGGREGATES), k=draw.choice([1, 1, 1, 3]))):
            self._event(connection, draw, thing)
            self._pause(draw, 0.005 if draw.random() < 0.93 else 0.25)
        self._end(connection, draw, number)

    def _event(self, connection: psycopg.Connection[Any], draw: random.Random, thing: int) -> None:
        nested = draw.random() < 0.2
        if nested:
            connection.execute("SAVEPOINT nested")
        row = connection.execute(_RAISE, [thing]).fetchone()
        assert row is not None
        if draw.random() < 0.1:
            with connection.cursor().copy(_COPY) as copy:
                copy.write_row(("thing", str(thing), row[0], "changed", "{}"))
            self.kinds["COPY"] += 1
        else:
            connection.execute(_PUBLISH, [str(thing), row[0]])
        if nested and draw.random() < 0.3:
            connection.execute("ROLLBACK TO nested")
            self.kinds["rollback to a savepoint"] += 1

    def _end(self, connection: psycopg.Connection[Any], draw: random.Random, number: int) -> None:
        chosen = draw.random()
        if chosen < 0.08:
            connection.rollback()
            self.kinds["rollback"] += 1
        elif chosen < 0.16:
            gid = f"{number}-{draw.random()}"
            connection.execute(f"PREPARE TRANSACTION '{gid}'")
            connection.commit()
            self._pause(draw, 1.2 if draw.random() < 0.3 else 0.1)
            connection.autocommit = True
            connection.execute(f"{'COMMIT' if draw.random() < 0.8 else 'ROLLBACK'} PREPARED '{gid}'")
            connection.autocommit = False
            self.kinds["prepared"] += 1
        else:
            connection.commit()
            self.kinds["commit"] += 1

    def _pause(self, draw: random.Random, at_most: float) -> None:
        self._stop.wait(draw.uniform(0, at_most))

    def _release(self) -> None:
        """Let the commits go that have waited for a standby for half a second."""
        while not self._over.wait(0.1):
            with suppress(*_BROKEN), psycopg.connect(self._url, autocommit=True) as connection:
                while not self._over.wait(0.1):
                    connection.execute(_WAITING)


class OpenThroughout:
    """A transaction that has an id, stays open for the whole block, and writes an event at its end."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url)

    def __enter__(self) -> Self:
        self._connection.execute("SELECT pg_current_xact_id()")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.execute(_PUBLISH, ["61", 1])
        self._connection.commit()
        self._connection.close()
