"""What is commonly done instead, under the same load: each must lose events, or the load proves nothing."""

import threading
from contextlib import suppress
from typing import Any, LiteralString, Self

import psycopg

_EVERY = 0.2
_LAST_ID = "SELECT id::text, seq FROM outbox.event WHERE seq > %s ORDER BY seq"
_HORIZON = """
SELECT id::text FROM outbox.event
WHERE tx >= %s::xid8 AND tx < pg_snapshot_xmin(pg_current_snapshot())
"""
_XMIN = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
_ALL = "SELECT id::text FROM outbox.event"
_CHANGES = """
SELECT jsonb_path_query_first(data::jsonb, '$.columns[*] ? (@.name == "id").value') #>> '{}'
FROM pg_logical_slot_get_changes(%s, NULL, NULL, 'format-version', '2', 'actions', 'insert', 'include-transaction', '0')
WHERE data::jsonb ->> 'schema' = 'outbox' AND data::jsonb ->> 'table' LIKE 'event%%'
"""


class Controls:
    """Two pollers in a thread, within the block: one remembers the last id, one waits for the oldest transaction."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self._by_last_id: set[str] = set()
        self._by_horizon: set[str] = set()
        self._early = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def losses(self) -> dict[str, int]:
        """Return how many of the events that are visible now each control has not seen."""
        committed = _ids(self._url, _ALL)
        self._stop.wait(3 * _EVERY)
        return {
            "last id": len(committed - self._by_last_id),
            "oldest transaction": len(committed - self._by_horizon),
            "early snapshot": self._early,
        }

    def hand_over_early(self, slot: str) -> None:
        """Make `slot`, and poll at once with an ordinary snapshot what it does not have."""
        with psycopg.connect(self._url, autocommit=True) as connection, suppress(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", [slot])
            try:
                polled = {row[0] for row in connection.execute(_ALL)}
                self._stop.wait(2)
                committed = {row[0] for row in connection.execute(_ALL)}
                streamed = {row[0] for row in connection.execute(_CHANGES, [slot])}
                self._early += len(committed - polled - streamed)
            finally:
                connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])

    def _poll(self) -> None:
        last, horizon = 0, "0"
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(_EVERY):
                rows = connection.execute(_LAST_ID, [last]).fetchall()
                self._by_last_id |= {row[0] for row in rows}
                last = max((row[1] for row in rows), default=last)
                with connection.transaction():
                    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    self._by_horizon |= {row[0] for row in connection.execute(_HORIZON, [horizon])}
                    horizon = str(_value(connection, _XMIN))


def _ids(database_url: str, query: LiteralString) -> set[str]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        return {row[0] for row in connection.execute(query)}


def _value(connection: psycopg.Connection[Any], query: LiteralString) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]
