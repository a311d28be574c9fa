"""Prints the findings of a `check` command, and ends it with its exit code."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from outboxkit.checks.finding import Finding, Status
from outboxkit.process.commands import BAD_ANSWER
from outboxkit.text import printable

_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.UNKNOWN: "dim"}


def report(findings: Sequence[Finding], console: Console, *, as_json: bool) -> None:
    """Print `findings`; raises typer.Exit with code 3 if one is FAIL."""
    failed = any(finding.status is Status.FAIL for finding in findings)
    if as_json:
        document = {"ok": not failed, "checks": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(document, indent=2, default=str))
    else:
        _print(findings, console)
    if failed:
        raise typer.Exit(BAD_ANSWER)


def _print(findings: Sequence[Finding], console: Console) -> None:
    table = Table(show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("")
    for finding in findings:
        summary, remedy = escape(printable(finding.summary)), escape(printable(finding.remedy))
        below = f"\n[dim]→ {remedy}[/]" if remedy else ""
        status = f"[{_STYLES[finding.status]}]{finding.status}[/]"
        table.add_row(status, escape(printable(finding.id)), summary + below)
    console.print(table)
    counts = {each: sum(finding.status is each for finding in findings) for each in Status}
    typer.echo(", ".join(f"{count} {each}" for each, count in counts.items() if count))
