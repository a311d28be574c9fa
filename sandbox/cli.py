"""The `sandbox` command: keeps a private Postgres and RabbitMQ running. It holds no logic of its own."""

import json
import shlex
import time
from dataclasses import asdict
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from outboxkit import commands
from sandbox import settings
from sandbox.demo import run as demonstration
from sandbox.lifetime import kept

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""A private Postgres and RabbitMQ for the demo, the tests and the benchmarks.

    SANDBOX=auto|docker|local picks where they come from: containers, or this machine's own packages; auto takes
    containers when a Docker engine answers. SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL name servers to use instead.""",
)
app.callback()(commands.options)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def up(*, as_json: Json = False) -> None:
    """Keep one running and print the settings to use it: eval "$(sandbox up)". Repeating it changes nothing."""
    started = time.monotonic()
    found = kept.up(settings.read())
    _print(found, as_json=as_json)
    postgres, rabbitmq = found.versions()
    typer.echo(
        f"PostgreSQL {postgres}, RabbitMQ {rabbitmq} ({found.kind}) in {time.monotonic() - started:.1f} s;"
        " end them with: sandbox down",
        err=True,
    )


@app.command()
def down() -> None:
    """End the one that is kept running, and remove all of it. Repeating it changes nothing."""
    typer.echo("ended" if kept.down() else "nothing was running", err=True)


@app.command()
def status(*, as_json: Json = False) -> None:
    """Tell whether one is kept running, and its servers' versions; exit code 3 when one of them does not answer."""
    found = kept.find()
    postgres, rabbitmq = found.versions() if found else (None, None)
    if as_json:
        kind = found.kind if found else None
        typer.echo(json.dumps({"kind": kind, "postgres": postgres, "rabbitmq": rabbitmq}))
    elif found is None:
        typer.echo("nothing is running; start it with: sandbox up")
    else:
        typer.echo(f"PostgreSQL {postgres or 'does not answer'}, RabbitMQ {rabbitmq or 'does not answer'}")
    if postgres is None or rabbitmq is None:
        raise typer.Exit(3)


@app.command()
def demo(
    *,
    tasks: Annotated[int, typer.Option(min=10, help="How many tasks are submitted.")] = 5000,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running, and print how to look at it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the whole path with the relay killed in the middle; exit 0 if every task was applied exactly once."""
    result = demonstration.demo(settings.read(), tasks=tasks, keep=keep, console=Console(stderr=as_json))
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        demonstration.show(result, Console())
    if not result.clean:
        raise typer.Exit(1)


def main() -> NoReturn:
    """Run the command."""
    commands.run(app, name="sandbox")


def _print(found: kept.Kept, *, as_json: bool) -> None:
    if as_json:
        postgres, rabbitmq = found.versions()
        typer.echo(
            json.dumps(
                {
                    "kind": found.kind,
                    "directory": str(found.directory),
                    "postgres": postgres,
                    "rabbitmq": rabbitmq,
                    "settings": found.environment(),
                }
            )
        )
        return
    for name, value in found.environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")
