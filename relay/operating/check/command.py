"""The command `relay check`."""

from typing import Annotated

import typer

from outboxkit.checks.report import report
from outboxkit.settings import load
from relay.operating.check import run
from relay.operating.display import console
from relay.operating.options import Config, Json
from relay.operating.topology import option
from relay.settings import RelaySettings


def check(
    config: Config = None,
    *,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", help="A queue that consumers read. May be repeated.")
    ] = None,
    topology: option.Option = None,
    as_json: Json = False,
) -> None:
    """Check every precondition, each with its remedy. Exit code 3 if one FAILs. It changes and delivers nothing.

    FAIL: the relay would not run, or would break a guarantee. WARN: it runs, with a risk. UNKNOWN: not determined.
    """
    settings = load(RelaySettings, config)
    found = run.check(settings, queue_names=queue or [], topology=option.read(topology, settings))
    report(found, console(), as_json=as_json)
