"""The figures of a phase by name: their unit, which way is better, and how the report calls them. Pure.

A figure whose name is not here is shown in the tables, with its unit, and no finding is made of it.
"""

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher"]
Group = Literal["speed", "writers", "database", "relay", "incident", "series", "other"]

SECONDS, RATE, BYTES, ROWS, COUNT = "s", "1/s", "B", "rows", ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is measured under one name."""

    name: str
    unit: str
    group: Group
    what: str
    """As the report calls it; with "per event" where it is so."""
    better: Better = "lower"
    grain: float = 0.0
    """Two values that differ by less are the same to what measures them."""


TICK = 0.01
"""Seconds: CPU is counted in these, for each process."""
PAGE = 8192.0
"""Bytes of Postgres' pages."""
LATENCY_GRAIN = 1e-4
"""Seconds: messages that arrive together have one time."""
_SAMPLED = 0.5
"""Seconds between two samples of a series."""
ALL = (
    # A drain, and the search for the highest rate
    Quantity("drain_rate", RATE, "speed", "drain rate", "higher"),
    Quantity("sustainable_rate", RATE, "speed", "sustainable rate", "higher"),
    # The writers, at a load
    Quantity("writer_commits", RATE, "writers", "commits of the writers", "higher"),
    Quantity("writer_commit_p50", SECONDS, "writers", "commit of a writer, p50", grain=1e-4),
    Quantity("writer_commit_p99", SECONDS, "writers", "commit of a writer, p99", grain=1e-4),
    # The database and the relay, at a load and in a drain, for each event
    Quantity("database_cpu", SECONDS, "database", "CPU of Postgres per event", grain=1e-6),
    Quantity("wal_bytes", BYTES, "database", "WAL per event", grain=10.0),
    Quantity("tuples_read", ROWS, "database", "rows read per event", grain=0.05),
    Quantity("dead_tuples", ROWS, "database", "dead rows per event", grain=0.05),
    Quantity("buffers", COUNT, "database", "buffers touched per event", grain=0.1),
    Quantity("vacuum_seconds", SECONDS, "database", "one vacuum afterwards", grain=TICK),
    Quantity("vacuum_wal_bytes", BYTES, "database", "WAL of that vacuum", grain=10 * PAGE),
    Quantity("table_growth", BYTES, "database", "growth of the outbox per event", grain=10.0),
    Quantity("relay_cpu", SECONDS, "relay", "CPU of the relay per event", grain=1e-6),
    Quantity("relay_rss", BYTES, "relay", "memory of the relay", grain=1e6),
    # A minute without events
    Quantity("idle_relay_cpu", SECONDS, "relay", "idle CPU of the relay per minute", grain=2 * TICK),
    Quantity("idle_database_cpu", SECONDS, "database", "idle CPU of Postgres per minute", grain=2 * TICK),
    Quantity("idle_queries", COUNT, "database", "idle transactions per minute", grain=2.0),
    # Incidents
    Quantity("peak_lag", SECONDS, "incident", "greatest lag", grain=_SAMPLED),
    Quantity("peak_retained_bytes", BYTES, "incident", "greatest retained WAL", grain=1e6),
    Quantity("peak_table_growth", BYTES, "incident", "growth of the outbox", grain=1e6),
    Quantity("catch_up", SECONDS, "incident", "time to catch up", grain=_SAMPLED),
    # A peer
    Quantity("restarts", COUNT, "other", "times that it ended by itself and was started again"),
)
BY_NAME = {quantity.name: quantity for quantity in ALL}


def of(name: str, unit: str) -> Quantity:
    """Return what is known of a figure's name; in another unit than ours it is another quantity."""
    known = BY_NAME.get(name)
    return known if known and known.unit == unit else Quantity(name, unit, "other", name.replace("_", " "))
