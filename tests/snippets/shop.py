"""The shop of docs/writers.md: its order 42, and what must be there after a program has paid it."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

_SECONDS = 300
_EVENT = {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 8, "event_type": "paid"}


def ran(directory: Path, *command: str | Path, **settings: str) -> None:
    """Run a program in `directory`, with more in its environment; it must succeed."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@dataclass(frozen=True)
class Shop:
    """A database with the order; `run` runs a program there."""

    url: str
    connection: psycopg.Connection[Any]
    directory: Path

    def run(self, *command: str | Path, **settings: str) -> None:
        """Run a program that finds the database in its environment; it must succeed."""
        place = urlsplit(self.url)
        jdbc = f"jdbc:postgresql://{place.hostname}:{place.port}{place.path}?user={place.username}"
        mine = {"DATABASE_URL": self.url, "JDBC_URL": f"{jdbc}&password={place.password}", "PGSSLMODE": "disable"}
        ran(self.directory, *command, **mine, **settings)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files into the program's directory."""
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def assert_paid(self) -> None:
        """Check that one transaction has paid the order, written the event and submitted the task."""
        paid = self.connection.execute("SELECT status, version, xmin::text FROM orders").fetchall()
        events = self.connection.execute(
            "SELECT aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, tx::xid::text"
            " FROM outbox.event WHERE aggregate_type <> 'task'"
        ).fetchall()
        tasks = self.connection.execute("SELECT type, payload, xmin::text FROM tasks.task").fetchall()
        transaction = paid[0][2]
        assert paid == [("paid", 8, transaction)]
        assert events == [(*_EVENT.values(), {"total": 120}, {}, transaction)]
        assert tasks == [("send_receipt", {"order": 42}, transaction)]

    def forms(self) -> list[tuple[str, object, object]]:
        """Return aggregate id, payload and headers of each event, in insert order."""
        return self.connection.execute(
            "SELECT aggregate_id, payload, headers FROM outbox.event WHERE aggregate_type <> 'task' ORDER BY seq"
        ).fetchall()
