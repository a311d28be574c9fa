"""The commands for whoever operates the relay: check, status, tail. They parse, ask and print; nothing else."""

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from outboxkit.settings import load
from relay.operating.check import run as checking
from relay.operating.check.finding import Finding, Status
from relay.operating.display import console, plain, size
from relay.operating.status import reading as statuses
from relay.settings import RelaySettings

Config = Annotated[Path | None, typer.Option(help="A TOML file with settings; the environment wins.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_PROBLEM_FOUND = 3
_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.UNKNOWN: "dim"}


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(check)
    app.command()(status)
    app.command()(tail)


def check(
    config: Config = None,
    *,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="A queue that consumers read; may be given several times.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every precondition, each with its remedy. Exit code 3 if one FAILs. It changes and delivers nothing.

    FAIL: the relay would not run, or not keep its promise. WARN: it runs, dangerously. UNKNOWN: it cannot be told.
    """
    findings = checking.check(load(RelaySettings, config), queue_names=queue or [])
    failed = any(finding.status is Status.FAIL for finding in findings)
    if as_json:
        document = {"ok": not failed, "checks": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(document, indent=2, default=str))
    else:
        _print(findings)
    if failed:
        raise typer.Exit(_PROBLEM_FOUND)


def status(
    config: Config = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, with what passed in between, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between two looks of --watch.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Tell who streams, how far, how far behind, what is in flight, what is parked and what is wrong."""
    settings = load(RelaySettings, config)
    found = statuses.read(settings)
    if not watch:
        _show(found, None, as_json=as_json)
        return
    with Live(_table(found, None), console=Console(quiet=as_json), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                before, found = found, statuses.read(settings)
                passed = statuses.throughput(before, found)
                if as_json:
                    typer.echo(json.dumps(statuses.document(found, passed), default=_plain))
                live.update(_table(found, passed), refresh=True)
        except KeyboardInterrupt:
            return


def tail(
    config: Config = None,
    *,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many messages.")] = None,
    from_now: Annotated[
        bool, typer.Option("--from-now", help="Begin with what commits from now on, not with what is unconfirmed.")
    ] = False,
) -> None:
    """Print messages as JSON lines as they would be published. The relay and its slot are not touched."""
    from relay import app as relay  # noqa: PLC0415 - as in `relay run`: no other command has to wait for it
    from relay.operating import tail as tailing  # noqa: PLC0415 - the same

    settings = load(RelaySettings, config)
    decoding, router = relay.decoding(settings), relay.router(settings)

    async def run() -> None:
        task = asyncio.ensure_future(
            tailing.tail(settings, decoding, router, count=count, from_now=from_now, out=sys.stdout)
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    try:
        asyncio.run(run())
    except BrokenPipeError:
        # The reader has gone (`| head`): there is nobody to tell, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(findings: list[Finding]) -> None:
    table = Table(show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("")
    for finding in findings:
        remedy = f"\n[dim]→ {escape(finding.remedy)}[/]" if finding.remedy else ""
        table.add_row(f"[{_STYLES[finding.status]}]{finding.status}[/]", finding.id, escape(finding.summary) + remedy)
    console().print(table)
    counts = {each: sum(finding.status is each for finding in findings) for each in Status}
    typer.echo(", ".join(f"{count} {each}" for each, count in counts.items() if count))


def _show(found: statuses.Status, passed: statuses.Throughput | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(statuses.document(found, passed), default=_plain))
    else:
        console().print(_table(found, passed))


def _table(found: statuses.Status, passed: statuses.Throughput | None) -> Table:
    slot, told, backlog = found.slot, found.running, found.backlog
    table = Table(show_header=False, box=None)

    def row(name: str, text: str | None) -> None:
        table.add_row(name, "not told" if text is None else plain(text))

    row("mode", found.mode)
    row("active", "nobody" if slot is None or not slot.holder else slot.holder)
    row("standbys", str(found.standbys))
    row("WAL ends at", found.current_lsn)
    row("confirmed", None if slot is None else slot.confirmed_flush_lsn)
    row("stored", _stored(found))
    row("lag", _lag(found))
    if backlog is not None:
        more = "" if backlog.complete else "at least "
        events = "events not told" if backlog.events is None else f"{backlog.events} events"
        row("not confirmed", f"{more}{backlog.transactions} transactions, with {more}{events}")
    row("retained", None if slot is None or slot.retained_bytes is None else size(slot.retained_bytes))
    row("wal_status", None if slot is None else slot.wal_status)
    row("in flight", None if told is None else str(told.in_flight))
    row("parked", None if found.parked is None else str(found.parked.waiting))
    if passed is not None:
        events_per_second, wal = passed.events_per_second, passed.wal_bytes_per_second
        row("throughput", None if events_per_second is None else f"{events_per_second:.0f} events/s")
        row("WAL confirmed", None if wal is None else f"{size(round(wal))}/s")
    row("last error", found.last_error or "none")
    return table


def _stored(found: statuses.Status) -> str | None:
    stored = found.checkpoint
    return None if stored is None else f"{stored.lsn} at {stored.updated_at:%Y-%m-%d %H:%M:%S %Z}"


def _lag(found: statuses.Status) -> str:
    behind = "bytes not told" if found.slot is None or found.slot.lag_bytes is None else size(found.slot.lag_bytes)
    return f"{behind}, {'seconds not told' if found.lag_seconds is None else f'{found.lag_seconds:.1f} s'}"


def _plain(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
