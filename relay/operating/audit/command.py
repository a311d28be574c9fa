"""The command `relay audit`: whether every committed event was confirmed, and applied."""

import json
from typing import Annotated

import typer

from outboxkit.errors import ConfigurationProblem, Problem
from outboxkit.process import commands
from outboxkit.settings import load
from relay.operating.audit import showing
from relay.operating.audit.asking import Asking
from relay.operating.audit.findings import Findings
from relay.operating.audit.repairing import repaired
from relay.operating.audit.running import Audit, Wanted
from relay.operating.connection import connected
from relay.operating.display import console, plain, print_table
from relay.operating.options import Config, Json, Yes
from relay.operating.slot import statements as slots
from relay.operating.times import Since, Until, duration, here, moment
from relay.settings import RelaySettings
from relay.sources.layout import NATIVE
from relay.sources.preconditions import require_primary
from relay.sources.wal.ownership import require_position

_NAMED = 100
"""Events of each sort, without --ids."""


def audit(  # noqa: PLR0913 - the options of a command
    config: Config = None,
    *,
    since: Since = "1h",
    until: Until = None,
    bucket: Annotated[str, typer.Option("--bucket", help="How long the stretches are that are counted.")] = "1m",
    grace: Annotated[
        str, typer.Option("--grace", help="How long after its confirm an event should have been applied.")
    ] = "60s",
    ids: Annotated[
        bool, typer.Option("--ids", help="Name every event; without it the first 100 of each sort.")
    ] = False,
    ignore_consumer: Annotated[
        list[str] | None,
        typer.Option("--ignore-consumer", help="A consumer that takes no events any more. May be repeated."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Show the missing ones; then, after confirmation, publish exactly them.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Compare the outbox with what RabbitMQ confirmed, what was parked, and what consumers have applied.

    Times are those of commits, to about ten seconds; the range is widened to whole stretches. Without --repair it
    changes nothing.

    Exit code 3 if an event is missing, not applied, changed, or without a row; and if there is nothing to compare.
    """
    settings = load(RelaySettings, config)
    now = here()
    wanted = Wanted(
        moment(since, now=now, option="--since"),
        now if until is None else moment(until, now=now, option="--until"),
        duration(bucket, option="--bucket"),
        duration(grace, option="--grace"),
        None if ids else _NAMED,
        ignore_consumer or (),
        "{aggregate_id}" not in settings.routing_key,
    )
    if wanted.since >= wanted.until:
        raise ConfigurationProblem("--since is not before --until", remedy="exchange them, or correct one")
    findings = audited(settings, wanted)
    if as_json:
        typer.echo(json.dumps(showing.document(findings), default=str))
    else:
        print_table(showing.table(findings))
        for line in showing.lines(findings, wanted.limit):
            console().print(plain(line), soft_wrap=True)
    if repair and findings.total("missing"):
        repaired(settings, findings, config, yes=yes, as_json=as_json)
        findings = findings.without_missing()
    if findings.verdict != "clean":
        commands.report(_bad(findings), name="relay")
        raise typer.Exit(commands.BAD_ANSWER)
    if not as_json:
        typer.echo(f"clean: {findings.total('committed')} committed, each confirmed, parked or pending")


def audited(settings: RelaySettings, wanted: Wanted) -> Findings:
    """Ask Postgres; raises a Problem if the outbox cannot be audited."""
    if settings.table != NATIVE.name:
        raise ConfigurationProblem(
            f"the outbox is not {NATIVE.name}, and confirms are recorded for that table only",
            remedy="compare its rows with what consumers have received",
        )
    with connected(settings, "audit") as connection:
        facts = slots.facts(connection, settings)
        require_primary(facts, "whose snapshots do not say which transactions are open")
        require_position(facts, settings.owner)
        asking = Asking(connection, settings.name)
        with asking.moment():
            return Audit(asking, settings.name, wanted).run()


def _bad(findings: Findings) -> Problem:
    """Return what is wrong, with what to do about the first of it."""
    if findings.verdict == "nothing to compare":
        return Problem(
            "nothing to compare: no event of this time was confirmed, parked or missing",
            remedy="name a longer time with --since, such as --since 1d",
        )
    numbers = {
        "missing": findings.lost,
        "not applied": findings.unapplied,
        "extra": len(findings.extra),
        "changed": len(findings.changed),
    }
    what = ", ".join(f"{number} {name}" for name, number in numbers.items() if number)
    return Problem(what, remedy=_remedy(findings))


def _remedy(findings: Findings) -> str:
    if findings.total("missing"):
        return "`relay audit --repair` with the same times publishes the missing ones"
    if findings.lost:
        return "their rows are gone: restore them from the application's own data"
    if findings.unapplied:
        return (
            "look whether the consumers run, and how long their queue is; if messages are gone, `relay replay` with "
            "the same times publishes them again"
        )
    return "find out who changes or deletes rows of the outbox: only the relay's retention may"
