"""`relay audit --repair`: publishes exactly what is missing, as a replay of it, and its confirms repair the record."""

import sys
from pathlib import Path

import typer

from outboxkit.errors import ConfigurationProblem
from relay.core.replay import Order, Selection, TableRange
from relay.operating.audit.findings import Findings
from relay.operating.connection import connected
from relay.operating.replay.running.foreground import run_order
from relay.settings import RelaySettings
from relay.storage.audit.outcome import union


def repaired(settings: RelaySettings, findings: Findings, config: Path | None, *, yes: bool, as_json: bool) -> None:
    """Publish the events that are missing, after confirmation; raises as `relay replay` does."""
    order = repair(findings)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationProblem(
                "there is no terminal to confirm it on", remedy="look at the events, then add --yes"
            )
        typer.confirm(f"Publish {order.events} missing events?", abort=True, err=as_json)
    with connected(settings, "audit") as connection:
        run_order(connection, settings, order, config, as_json=as_json)


def repair(findings: Findings) -> Order:
    """Return the replay of exactly the missing events that are still in the outbox."""
    after, until = findings.buckets[0].bucket.after, findings.buckets[-1].bucket.until
    seqs = union([each.outcome.missing_seqs for each in findings.buckets])
    return Order(TableRange(after.snapshot, until.snapshot), Selection(seqs=seqs), events=findings.total("missing"))
