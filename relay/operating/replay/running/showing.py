"""What `relay replay` prints: jobs, and how far one is: a bar on a terminal, lines of JSON, or a line at times."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from relay.operating.display import err_console, plain

_DRAWN_EVERY = 0.2
"""Seconds; so are these:"""
_LINE_EVERY = 5.0
_JSON_EVERY = 1.0


class Shown:
    """Shows how many events of job `number` are `done` of `total`, which is None if it is not known."""

    def __init__(
        self, number: int, total: int | None, done: Callable[[], int], *, as_json: bool, terminal: bool
    ) -> None:
        self._number = number
        self._total = total
        self._done = done
        self._as_json = as_json
        self._terminal = terminal and not as_json
        self._began = time.monotonic()

    async def run(self) -> None:
        """Show it until cancelled."""
        if self._terminal:
            await self._draw()
        while True:
            await asyncio.sleep(_JSON_EVERY if self._as_json else _LINE_EVERY)
            self.line("progress")

    def line(self, what: str) -> None:
        """Print one line of how far it is."""
        found = self.document(what)
        if self._as_json:
            typer.echo(json.dumps(found))
            return
        total = "" if self._total is None else f" of {self._total}"
        left = "" if found["seconds_left"] is None else f", {found['seconds_left']:.0f} s left"
        typer.echo(f"{found['done']}{total} events, {found['rate']:.0f}/s{left}")

    def document(self, what: str) -> dict[str, Any]:
        """Return how far it is, as it is printed with --json."""
        done, seconds = self._done(), max(time.monotonic() - self._began, 0.001)
        rate = done / seconds
        left = None if self._total is None or not rate else max(0, self._total - done) / rate
        return {
            "what": what,
            "job": self._number,
            "done": done,
            "events": self._total,
            "rate": round(rate, 1),
            "seconds_left": None if left is None else round(left, 1),
        }

    async def _draw(self) -> None:
        columns = (
            TextColumn("replay {task.fields[number]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f}/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err_console(), transient=True) as bar:
            task = bar.add_task("", total=self._total, number=self._number, rate=0)
            while True:
                found = self.document("progress")
                bar.update(task, completed=found["done"], rate=found["rate"])
                await asyncio.sleep(_DRAWN_EVERY)


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return what is shown of jobs, the columns of sql/queries/replay_list.sql."""
    shown = Table("job", "state", "events", "confirmed", "parked", "range", "only", "to", "begun (UTC)", "by")
    for row in rows:
        shown.add_row(*map(plain, _cells(row)))
    return shown


def resumable(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each job that can be resumed."""
    for row in rows:
        if row["state"] in {"interrupted", "failed"}:
            why = f": {row['detail']}" if row["detail"] else ""
            yield f"job {row['job']} {row['state']}{why}; `relay replay resume {row['job']}` goes on"


def events(count: int) -> str:
    """Return a number of events as text."""
    return f"{count} {'event' if count == 1 else 'events'}"


def _cells(row: dict[str, Any]) -> list[str]:
    chosen = [row["aggregate_type"], row["aggregate_id"], row["event_type"]]
    first, last = (row[f"{end}_{'snapshot' if row['source'] == 'table' else 'lsn'}"] for end in ("after", "until"))
    return [
        str(row["job"]),
        row["state"],
        "unknown" if row["events"] is None else str(row["events"]),
        str(row["confirmed"]),
        str(row["parked"]),
        f"{row['source']}, {first} to {last}",
        " ".join(each for each in chosen if each) or ("chosen events" if row["seqs"] else "all"),
        row["queue"] or row["exchange"] or "as before",
        f"{row['created_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        row["created_by"],
    ]
