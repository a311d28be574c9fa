"""An outbox table of an application, from before it had a column `tx`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psycopg

from sandbox import Isolated
from tests.integration.relay.stage import environment

TABLE = "shop.outbox"
COLUMNS = """
    id uuid NOT NULL DEFAULT gen_random_uuid(), number bigint GENERATED ALWAYS AS IDENTITY, aggregatetype text NOT NULL,
    aggregateid text NOT NULL, type text NOT NULL, payload jsonb
"""
INSERT = "INSERT INTO shop.outbox (aggregatetype, aggregateid, type, payload) SELECT 'order', n, 'paid', '{}'"


def variables(isolated: Isolated, **changes: str) -> dict[str, str]:
    """Return the settings of a relay of the table."""
    return environment(isolated, **settings(), **changes)


def settings() -> dict[str, str]:
    return {
        "RELAY_OUTBOX_TABLE": TABLE,
        "RELAY_OUTBOX_LAYOUT": "debezium",
        "RELAY_OUTBOX_COLUMNS": '{"seq": "number", "aggregate_version": "number"}',
    }


def create(isolated: Isolated, rows: int = 0, *, tail: str = "") -> None:
    """Make the table with `rows` rows."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute(f"CREATE TABLE shop.outbox ({COLUMNS}) {tail}".encode())
    insert(isolated, rows)


def insert(isolated: Isolated, rows: int) -> list[str]:
    """Commit `rows` rows; return their ids, in order."""
    with psycopg.connect(isolated.database_url) as connection:
        return [
            str(row[0])
            for row in connection.execute(
                f"{INSERT} FROM generate_series(1, %s) AS n RETURNING id".encode(), [rows]
            ).fetchall()
        ]


def ids(isolated: Isolated, where: str = "true") -> list[str]:
    """Return the ids of the rows, in order."""
    with psycopg.connect(isolated.database_url) as connection:
        found = connection.execute(f"SELECT id FROM shop.outbox WHERE {where} ORDER BY number".encode())  # noqa: S608 - a constant
        return [str(row[0]) for row in found]


@contextmanager
def load(isolated: Isolated, *, writers: int = 2) -> Iterator[list[float]]:
    """Let writers insert rows, one a transaction, while the block runs; yields how long each waited, in seconds."""
    waits: list[float] = []
    stop = Event()
    failures: list[Exception] = []

    def write() -> None:
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            while not stop.wait(0.002):
                began = time.monotonic()
                connection.execute(f"{INSERT} FROM generate_series(1, 1) AS n".encode())
                waits.append(time.monotonic() - began)

    def run() -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - it is told below
            failures.append(error)

    threads = [Thread(target=run) for _ in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield waits
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures, failures
