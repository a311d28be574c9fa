"""Relays that share an outbox, for tests; and partitions of aggregates, computed once, as they must stay."""

from typing import LiteralString

import psycopg

from sandbox import Isolated
from sandbox.machine.waiting import until

KNOWN = [
    ("order", "42", 2, 2),
    ("order", "42", 4, 2),
    ("order", "42", 256, 214),
    ("order", "43", 4, 3),
    ("a", "bc", 4, 2),
    ("ab", "c", 4, 4),
    ("Bestellung", "ä€😀", 4, 3),
    ("task", "", 3, 3),
    ("task", "", 1, 1),
]
"""Type, id, how many partitions, and the number of the one that it is in."""

PUBLISHED: LiteralString = """
SELECT bool_and(NOT EXISTS (SELECT FROM outbox.event WHERE NOT pg_visible_in_snapshot(tx, snapshot)))
FROM relay.checkpoint
"""
BY_ANOTHER: LiteralString = """
SELECT r.relay, e.seq FROM relay.confirmed AS r JOIN relay.checkpoint AS c ON c.name = r.relay
JOIN outbox.event AS e ON r.seqs @> e.seq
WHERE outbox.partition_of(e.aggregate_type, e.aggregate_id, c.partitions) <> c.partition
"""


def name(number: int) -> str:
    """Return the name of the relay of partition `number`."""
    return f"part{number}"


def member(isolated: Isolated, number: int, of: int) -> dict[str, str]:
    """Return the settings by which a relay differs from others of the outbox."""
    return {
        "RELAY_NAME": name(number),
        "RELAY_SLOT": f"{isolated.name}_{number}",
        "RELAY_PARTITION": f"{number}/{of}",
    }


def published(url: str) -> None:
    """Wait until each relay's stored snapshot sees everything that is committed."""
    with psycopg.connect(url, autocommit=True) as connection:
        until(lambda: connection.execute(PUBLISHED).fetchone() == (True,), what="everything is published", seconds=90)


def by_another(url: str) -> list[tuple[str, int]]:
    """Return what a relay has confirmed that is of another's partition: the relay, and the number of the event."""
    with psycopg.connect(url) as connection:
        return connection.execute(BY_ANOTHER).fetchall()
