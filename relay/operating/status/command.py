"""The command `relay status`."""

import json
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from outboxkit.settings import load
from relay.operating.display import console, plain, size
from relay.operating.options import Config, Json
from relay.operating.status.document import Status, Throughput, document, throughput
from relay.operating.status.gathering import gather
from relay.settings import RelaySettings


def status(
    config: Config = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat until Ctrl-C, with the throughput since the last time.")
    ] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between repetitions of --watch.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Show who streams, the positions, the lag, what is in flight, what is parked, and the last error."""
    settings = load(RelaySettings, config)
    found = gather(settings)
    if not watch:
        if as_json:
            _print_json(found, None)
        else:
            console().print(_table(found, None))
        return
    with Live(_table(found, None), console=Console(quiet=as_json), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                before, found = found, gather(settings)
                rates = throughput(before, found)
                if as_json:
                    _print_json(found, rates)
                live.update(_table(found, rates), refresh=True)
        except KeyboardInterrupt:
            return


def _print_json(found: Status, rates: Throughput | None) -> None:
    typer.echo(json.dumps(document(found, rates), default=_plain))


def _table(found: Status, rates: Throughput | None) -> Table:
    slot, local, backlog = found.slot, found.local, found.backlog
    table = Table(show_header=False, box=None)

    def row(name: str, text: str | None) -> None:
        table.add_row(name, "unknown" if text is None else plain(text))

    row("mode", found.mode)
    row("active", "nobody" if slot is None or not slot.holder else slot.holder)
    row("standbys", str(found.standbys))
    row("WAL ends at", found.current_lsn)
    row("confirmed", None if slot is None else slot.confirmed_flush_lsn)
    row("stored", _stored(found))
    row("lag", _lag(found))
    if backlog is not None:
        more = "" if backlog.complete else "at least "
        events = "events unknown" if backlog.events is None else f"{more}{backlog.events} events"
        row("not confirmed", f"{more}{backlog.transactions} transactions, {events}")
    row("retained", None if slot is None or slot.retained_bytes is None else size(slot.retained_bytes))
    row("wal_status", None if slot is None else slot.wal_status)
    row("in flight", None if local is None else str(local.in_flight))
    row("parked", None if found.parked is None else str(found.parked.waiting))
    if rates is not None:
        events_per_second, wal = rates.events_per_second, rates.wal_bytes_per_second
        row("throughput", None if events_per_second is None else f"{events_per_second:.0f} events/s")
        row("WAL confirmed", None if wal is None else f"{size(round(wal))}/s")
    row("last error", found.last_error or "none")
    return table


def _stored(found: Status) -> str | None:
    stored = found.checkpoint
    return None if stored is None else f"{stored.lsn} at {stored.updated_at:%Y-%m-%d %H:%M:%S %Z}"


def _lag(found: Status) -> str:
    behind = "bytes unknown" if found.slot is None or found.slot.lag_bytes is None else size(found.slot.lag_bytes)
    return f"{behind}, {'seconds unknown' if found.lag_seconds is None else f'{found.lag_seconds:.1f} s'}"


def _plain(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
