"""The command `relay check`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from outboxkit.process.commands import BAD_ANSWER
from outboxkit.settings import load
from outboxkit.text import printable
from relay.operating.check import run
from relay.operating.check.finding import Finding, Status
from relay.operating.display import console
from relay.operating.options import Config, Json
from relay.settings import RelaySettings

_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.UNKNOWN: "dim"}


def check(
    config: Config = None,
    *,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="A queue that consumers read. May be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every precondition, each with its remedy. Exit code 3 if one FAILs. It changes and delivers nothing.

    FAIL: the relay would not run, or would break a guarantee. WARN: it runs, with a risk. UNKNOWN: not determined.
    """
    findings = run.check(load(RelaySettings, config), queue_names=queue or [])
    failed = any(finding.status is Status.FAIL for finding in findings)
    if as_json:
        document = {"ok": not failed, "checks": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(document, indent=2, default=str))
    else:
        _print(findings)
    if failed:
        raise typer.Exit(BAD_ANSWER)


def _print(findings: list[Finding]) -> None:
    table = Table(show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("")
    for finding in findings:
        summary, remedy = escape(printable(finding.summary)), escape(printable(finding.remedy))
        below = f"\n[dim]→ {remedy}[/]" if remedy else ""
        status = f"[{_STYLES[finding.status]}]{finding.status}[/]"
        table.add_row(status, escape(printable(finding.id)), summary + below)
    console().print(table)
    counts = {each: sum(finding.status is each for finding in findings) for each in Status}
    typer.echo(", ".join(f"{count} {each}" for each, count in counts.items() if count))
