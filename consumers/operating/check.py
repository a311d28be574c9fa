"""The command `consumers check`: every precondition with its remedy. It changes nothing and takes no message."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consumers.operating.checks import asking, broker, rights, server, work
from consumers.settings import ConsumerSettings
from outboxkit.checks.finding import Check, Finding, Verdict, fail, judged, named, ok, reached
from outboxkit.checks.report import report
from outboxkit.settings import load

Config = Annotated[Path | None, typer.Option("--config", help="TOML file with settings; the environment wins.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WIDE = 240


def check(config: Config = None, *, as_json: Json = False) -> None:
    """Check every precondition, each with its remedy. Exit code 3 if one FAILs. It changes nothing.

    FAIL: the consumers would not run. WARN: they run, with a risk. UNKNOWN: not determined.
    """
    console = Console() if sys.stdout.isatty() else Console(width=_WIDE)  # a pipe's lines are searched
    report(findings(load(ConsumerSettings, config)), console, as_json=as_json)


def findings(settings: ConsumerSettings) -> list[Finding]:
    """Return a finding for each check, always with the same ids in the same order."""
    postgres, rabbitmq, types = asking.ask(settings), broker.asked(settings), work.load(settings)
    return [
        reached("postgres.connection", postgres.server, "Postgres answers"),
        *judged(server.CHECKS, postgres.server),
        *judged((Check("postgres.schema", _schema),), postgres.schema),
        *judged(rights.CHECKS, postgres.rights),
        reached("broker.connection", rabbitmq, "RabbitMQ answers"),
        *judged(broker.CHECKS, rabbitmq),
        named("tasks.handlers", work.handlers(types)),
        named("tasks.unhandled", work.unhandled(postgres.waiting, types)),
        named("tasks.scheduler", work.scheduler(postgres.jobs, settings)),
    ]


def _schema(found: asking.Schema) -> Verdict:
    if found.lacking:
        lacking = list(found.lacking)
        return fail(
            f"the schema lacks {', '.join(lacking)}", remedy="run `relay setup` of this version", lacking=lacking
        )
    return ok("the schema has the version of this program", lacking=[])
