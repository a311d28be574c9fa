"""The command `relay retention`: removes what is published and old from the outbox."""

import json
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Annotated, Any

import psycopg
import typer
from psycopg.rows import class_row
from rich.table import Table

from outboxkit import sql
from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import load
from relay.operating.connection import connected
from relay.operating.display import console, plain
from relay.operating.options import Config, Json
from relay.settings import RelaySettings
from relay.sources.layout import NATIVE
from relay.storage.retention import OldPartition

app = typer.Typer(no_args_is_help=True, help="What is published and old: drop it from the outbox.")


@app.callback()
def _group() -> None:
    """Keep `run` a subcommand, although it is the only one."""


@app.command()
def run(
    config: Config = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be dropped. Change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Drop the partitions that every relay has published and that are older than RELAY_RETENTION.

    The relay does this by itself every ten minutes. A partition that cannot be dropped now is named with the reason.
    What came into the default partition is removed by row.
    """
    settings = load(RelaySettings, config)
    keep = _kept_for(settings)
    with connected(settings, "retention") as connection:
        connection.execute(sql.query("session_retention"))
        found = list(_partitions(connection, keep, dry_run=dry_run))
        default = _drain(connection, keep, dry_run=dry_run)
    if as_json:
        partitions = [{**each._asdict(), "dropped": each.obstacle is None and not dry_run} for each in found]
        document = {"partitions": partitions, "default": {"events": default, "removed": not dry_run}}
        typer.echo(json.dumps(document, default=str))
        return
    table = Table("partition", "until (UTC)", "")
    for each in found:
        until = each.until.astimezone(UTC)
        table.add_row(
            plain(each.partition),
            f"{until:%Y-%m-%d %H:%M}",
            plain(each.obstacle or ("would be dropped" if dry_run else "dropped")),
        )
    console().print(table if found else "no partition is old enough")
    if default:
        console().print(f"{default} events of the default partition " + ("would be removed" if dry_run else "removed"))


def _kept_for(settings: RelaySettings) -> timedelta:
    if settings.table != NATIVE.name:
        raise ConfigurationProblem(
            f"the outbox is not {NATIVE.name}",
            remedy="its owner removes old rows from another table, once `relay status` shows no lag",
        )
    if settings.retention is None:
        raise ConfigurationProblem("RELAY_RETENTION is off", remedy="set RELAY_RETENTION to a duration, such as 7d")
    return settings.retention


def _partitions(connection: psycopg.Connection[Any], keep: timedelta, *, dry_run: bool) -> Iterator[OldPartition]:
    """Yield the old partitions, each with what keeps it, after the others were dropped; a dry run drops none."""
    cursor = connection.cursor(row_factory=class_row(OldPartition))
    kept = None
    for found in cursor.execute(sql.query("retention_list"), {"keep": keep}).fetchall():
        obstacle = found.obstacle or kept
        if obstacle is None and not dry_run:
            row = connection.execute(
                sql.query("retention_drop"), {"partition": found.partition, "keep": keep}
            ).fetchone()
            obstacle = kept = None if row is None else row[0]  # what keeps this one keeps the next
        yield found._replace(obstacle=obstacle)


def _drain(connection: psycopg.Connection[Any], keep: timedelta, *, dry_run: bool) -> int:
    """Return how many events of the default partition are removed."""
    query, removed = sql.query("retention_default" if dry_run else "retention_drain"), 0
    while (row := connection.execute(query, {"keep": keep}).fetchone()) and row[0]:
        removed += row[0]
        if dry_run:
            break
    return removed
