"""Load of versioned events: concurrent transactions that overlap, each over several aggregates, some rolled back.

An aggregate's version grows by one with each of its events, under a lock on its row; so its events commit in the order
of their versions. `committed` is a record of its own. A transaction whose COMMIT was not answered is in doubt; whether
it committed is looked up at the end, by its first event in the outbox.
"""

import random
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import psycopg

from tests.support.threads import Threads
from writers import NewEvent, publish

THINGS = 40
_PAUSE = 0.02
_CREATE = "CREATE TABLE IF NOT EXISTS thing (id text PRIMARY KEY, version bigint NOT NULL DEFAULT 0)"
_RAISE = "UPDATE thing SET version = version + 1 WHERE id = %s RETURNING version"


class Things(Threads):
    """Writers in threads, within the block; after it `committed` is complete.

    Another load on the same database continues from the stored versions, and so does this one where it is moved to.
    """

    def __init__(self, database_url: str, *, seed: int, writers: int = 3) -> None:
        super().__init__(
            [partial(self._write, random.Random(f"{seed} {number}")) for number in range(writers)]  # noqa: S311 - load, no secret
        )
        self._url = database_url
        self._in_doubt: list[list[UUID]] = []
        self.committed: list[UUID] = []
        with psycopg.connect(database_url) as connection:
            connection.execute(_CREATE)
            for number in range(THINGS):
                connection.execute("INSERT INTO thing (id) VALUES (%s) ON CONFLICT DO NOTHING", [str(number)])

    def move(self, database_url: str) -> None:
        """Connect to `database_url` from the next connection on; what is in doubt is looked up there."""
        self._url = database_url

    def stop(self) -> None:
        """Finish the open transactions, start no more, and look up those in doubt."""
        super().stop()
        if self._in_doubt:
            self._look_up_doubts()

    def _write(self, draw: random.Random) -> None:
        while not self._stop.is_set():
            with suppress(psycopg.OperationalError), psycopg.connect(self._url) as connection:  # Postgres is away
                while not self._stop.wait(draw.uniform(0, 2 * _PAUSE)):
                    self._transaction(connection, draw)
            self._stop.wait(_PAUSE)

    def _transaction(self, connection: psycopg.Connection[Any], draw: random.Random) -> None:
        ids = []
        # Locked in one order, so that transactions wait and do not deadlock.
        for thing in sorted(draw.sample(range(THINGS), k=draw.randint(1, 4))):
            for _ in range(draw.randint(1, 3)):
                row = connection.execute(_RAISE, [str(thing)]).fetchone()
                assert row is not None
                ids.append(publish(connection, NewEvent("thing", str(thing), row[0], "changed", {"seed": "ü"})))
        self._stop.wait(draw.uniform(0, _PAUSE))  # so that transactions overlap
        if draw.random() < 0.15:
            connection.rollback()
            return
        try:
            connection.commit()
        except psycopg.OperationalError:
            self._in_doubt.append(ids)
            raise
        self.committed += ids

    def _look_up_doubts(self) -> None:
        with psycopg.connect(self._url) as connection:
            for ids in self._in_doubt:
                if connection.execute("SELECT 1 FROM outbox.event WHERE id = %s", [ids[0]]).fetchone():
                    self.committed += ids
        self._in_doubt = []
