"""Writes the versions of many orders: several writers at once, each with orders of its own."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from outboxkit import sql


class Writing:
    """Events that are being committed, each in a transaction of its own."""

    def __init__(self, writers: Sequence["Future[None]"]) -> None:
        self._writers = writers

    def check(self) -> None:
        """Raise what ended a writer."""
        for writer in self._writers:
            if writer.done():
                writer.result()


@contextmanager
def writing(database_url: str, orders: Sequence[str], *, versions: int, writers: int) -> Iterator[Writing]:
    """Write `versions` events of each of `orders` during the block, and wait for the last one."""
    with ThreadPoolExecutor(writers, thread_name_prefix="writer") as executor:
        yield Writing(
            [executor.submit(_write, database_url, orders[first::writers], versions) for first in range(writers)]
        )


def _write(database_url: str, orders: Sequence[str], versions: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for version in range(1, versions + 1):
            for order in random.sample(orders, len(orders)):
                connection.execute(sql.example("partitioned_publish"), {"order": order, "version": version})
