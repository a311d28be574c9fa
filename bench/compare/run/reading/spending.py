"""What an arm costs: counted by the server, and by the operating system for each process."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from bench.compare.results import Figure
from bench.instruments import procfs
from bench.stage import Stage
from outboxkit import sql

_MINUTE = 60.0
_ELSEWHERE = "Postgres was not started by the sandbox on this machine, so its processes cannot be read"


@dataclass(frozen=True, slots=True)
class Spent:
    """What was counted until one moment, or, as a difference, between two."""

    at: float
    wal_bytes: int
    """The next four are the columns of sql/examples/bench_compare_counters.sql."""
    tuples_read: int
    buffers: int
    transactions: int
    dead_tuples: int
    database_cpu: float | None
    """Seconds; None if Postgres runs elsewhere."""
    relay_cpu: float
    table_bytes: int

    def since(self, before: "Spent") -> "Spent":
        """Return what was spent since `before`."""
        known = self.database_cpu is not None and before.database_cpu is not None
        return Spent(
            self.at - before.at,
            self.wal_bytes - before.wal_bytes,
            self.tuples_read - before.tuples_read,
            self.buffers - before.buffers,
            self.transactions - before.transactions,
            self.dead_tuples - before.dead_tuples,
            (self.database_cpu or 0) - (before.database_cpu or 0) if known else None,
            self.relay_cpu - before.relay_cpu,
            self.table_bytes - before.table_bytes,
        )


class Meter:
    """Reads what one arm has spent; `pids` are its processes."""

    def __init__(self, place: Stage, pids: Sequence[int]) -> None:
        self._place = place
        self._pids = pids

    def read(self) -> Spent:
        """Return what was spent until now. Sessions come and go, so Postgres' processes are looked up each time."""
        ((wal_bytes, read, buffers, transactions, dead),) = self._place.execute("bench_compare_counters")
        with self._place.connect() as connection:
            _, tables = sizes(connection, self._place.exchange)
        servers = self._place.postgres_pids()
        return Spent(
            time.monotonic(),
            int(wal_bytes),
            int(read),
            int(buffers),
            int(transactions),
            int(dead),
            procfs.cpu_with_children(servers) if servers else None,
            procfs.cpu(self._pids),
            tables,
        )

    def resident(self) -> int:
        """Return the memory of the arm's processes."""
        return sum(map(procfs.resident, self._pids))


def sizes(connection: psycopg.Connection[Any], slot: str) -> tuple[int | None, int]:
    """Return the bytes of WAL that the slot retains, None without one, and those of the tables."""
    row = connection.execute(sql.example("bench_compare_sizes"), {"slot": slot}).fetchone()
    retained, tables = row or (None, 0)
    return None if retained is None else int(retained), int(tables)


def for_each(spent: Spent, events: int, *, relays: bool) -> dict[str, Figure]:
    """Return what was spent for each of `events`; without the relay's part if nothing `relays`. Pure."""
    figures = {
        "wal_bytes": Figure(spent.wal_bytes / events, "B"),
        "tuples_read": Figure(spent.tuples_read / events, "rows"),
        "dead_tuples": Figure(spent.dead_tuples / events, "rows"),
        "buffers": Figure(spent.buffers / events, ""),
        "table_growth": Figure(spent.table_bytes / events, "B"),
    }
    if spent.database_cpu is not None:
        figures["database_cpu"] = Figure(spent.database_cpu / events, "s")
    if relays:
        figures["relay_cpu"] = Figure(spent.relay_cpu / events, "s")
    return figures


def unknown(spent: Spent, name: str) -> dict[str, str]:
    """Return why the figure `name`, of Postgres' CPU, is not there, if it is not. Pure."""
    return {} if spent.database_cpu is not None else {name: _ELSEWHERE}


def idle(spent: Spent) -> dict[str, Figure]:
    """Return what is spent in a minute without events. Pure."""
    each = _MINUTE / spent.at
    figures = {
        "idle_relay_cpu": Figure(spent.relay_cpu * each, "s"),
        "idle_queries": Figure(spent.transactions * each, ""),
    }
    if spent.database_cpu is not None:
        figures["idle_database_cpu"] = Figure(spent.database_cpu * each, "s")
    return figures
