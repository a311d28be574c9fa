"""The command `relay status`."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from outboxkit.process.commands import BAD_ANSWER
from outboxkit.process.watching import repeat
from outboxkit.settings import load
from outboxkit.text import one_line
from relay.operating.display import console, plain, size
from relay.operating.members import Member
from relay.operating.options import Config, Json
from relay.operating.status.document import Status, Throughput, bad, document, throughput
from relay.operating.status.gathering import gather
from relay.operating.status.shadow import summary
from relay.settings import RelaySettings


class Shown(NamedTuple):
    """One answer: the status, the rates since the one before, and why it is bad."""

    found: Status
    rates: Throughput | None
    bad: str | None


def status(
    config: Config = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat until Ctrl-C, with the throughput since the last time.")
    ] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between repetitions of --watch.")] = 2.0,
    max_lag: Annotated[
        float | None,
        typer.Option("--max-lag", min=0, help="Seconds of lag that are not bad. Without it, RELAY_READY_LAG."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show who is active, what it reads and why, the positions, the lag, what is in flight and parked, the last error.

    Exit code 3 if no events pass (no relay is active, RabbitMQ takes no message, or, unless the table is polled, the
    slot is missing or lost), a partition of the outbox has no active relay, or the lag is over the limit; the reason is
    printed to standard error.
    """
    settings = load(RelaySettings, config)
    limit = settings.ready_lag if max_lag is None else max_lag

    def look(before: Shown | None) -> Shown:
        found = gather(settings)
        rates = None if before is None else throughput(before.found, found)
        return Shown(found, rates, bad(found, limit, unknown=max_lag is not None))

    if watch:
        show = _print_json if as_json else _print_table
        repeat(look, every=every, show=show, drawn=None if as_json else _table)
        return
    shown = look(None)
    if as_json:
        _print_json(shown)
    else:
        console().print(_table(shown))
    if shown.bad is not None:
        sys.stderr.write(f"relay: {one_line(shown.bad)}\n")
        raise typer.Exit(BAD_ANSWER)


def _print_json(shown: Shown) -> None:
    typer.echo(json.dumps(document(shown.found, shown.rates, shown.bad), default=_plain))


def _print_table(shown: Shown) -> None:
    console().print(_table(shown), "")


def _table(shown: Shown) -> Table:
    found, rates = shown.found, shown.rates
    slot, local, backlog = found.slot, found.local, found.backlog
    table = Table(show_header=False, box=None)

    def row(name: str, text: str | None) -> None:
        table.add_row(name, "unknown" if text is None else plain(text))

    row("mode", found.mode)
    if found.why is not None:
        row("why", found.why + (f", since {found.since:%Y-%m-%d %H:%M:%S %Z}" if found.since else ""))
    row("active", "nobody" if found.leader is None else str(found.leader))
    if found.pollers is not None:
        row("pollers", str(found.pollers))
        row("skipped", None if local is None else f"{local.skipped} rows that others had, {local.conflicts} conflicts")
    row("standbys", str(found.standbys))
    row("WAL ends at", found.current_lsn)
    row("confirmed", None if slot is None else slot.confirmed_flush_lsn)
    row("stored", _stored(found))
    if found.checkpoint is not None and found.checkpoint.making_slot:
        row("new slot", "is being made; polling goes on")
    if found.checkpoint is not None and found.checkpoint.wanted != "auto":
        row("asked for", f"{found.checkpoint.wanted}, by `relay switch`")
    if found.waits is not None:
        row("switch waits for", found.waits)
    row("lag", _lag(found))
    if backlog is not None:
        more = "" if backlog.complete else "at least "
        events = "events unknown" if backlog.events is None else f"{more}{backlog.events} events"
        row("not confirmed", f"{more}{backlog.transactions} transactions, {events}")
    row("retained", None if slot is None or slot.retained_bytes is None else size(slot.retained_bytes))
    row("wal_status", None if slot is None else slot.wal_status)
    row("in flight", None if local is None else str(local.in_flight))
    row("parked", None if found.parked is None else str(found.parked.waiting))
    for name, text in _extras(found):
        row(name, text)
    if rates is not None:
        events_per_second, wal = rates.events_per_second, rates.wal_bytes_per_second
        row("throughput", None if events_per_second is None else f"{events_per_second:.0f} events/s")
        row("WAL confirmed", None if wal is None else f"{size(round(wal))}/s")
    row("last error", shown.bad or found.last_error or "none")
    return table


def _extras(found: Status) -> Iterator[tuple[str, str]]:
    """Yield what only some relays have."""
    for member in found.members:
        yield f"partition {member.partition}/{member.partitions}", _of(member)
    if found.window is not None:
        yield "kept for replays", f"{size(found.window.retained_bytes or 0)}, from {found.window.confirmed_flush_lsn}"
    if found.local is not None and found.local.shadow is not None:
        yield "shadow", summary(found.local.shadow)


def _of(member: Member) -> str:
    if member.vacant:
        return "nobody: no relay is set up for it"
    return f"{member.name}, active" if member.active else f"{member.name}, not active"


def _stored(found: Status) -> str | None:
    stored = found.checkpoint
    if stored is None:
        return None
    where = stored.snapshot if stored.mode == "polling" else stored.lsn
    return f"{where} at {stored.updated_at:%Y-%m-%d %H:%M:%S %Z}"


def _lag(found: Status) -> str:
    behind = "bytes unknown" if found.slot is None or found.slot.lag_bytes is None else size(found.slot.lag_bytes)
    return f"{behind}, {'seconds unknown' if found.lag_seconds is None else f'{found.lag_seconds:.1f} s'}"


def _plain(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
