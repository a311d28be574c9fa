"""The command `sandbox`: its options and its output, and no logic."""

import json
import os
import shlex
from dataclasses import asdict
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from outboxkit.process import commands
from sandbox import settings
from sandbox.demo import composed, locking, run
from sandbox.demo.partitioned import run as partitioned
from sandbox.demo.result import Counts
from sandbox.demo.table import show
from sandbox.lifetime import kept
from sandbox.machine.commands import DIRECTORY

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""A private Postgres and RabbitMQ for the demo, the tests and the benchmarks.

    SANDBOX=docker|local selects containers or this machine's own packages.
    Without it, containers are used if a Docker engine answers. To use other
    servers, set SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL.

    Each checkout has its own sandbox; no command affects that of another.""",
)
app.callback()(commands.options)

_COMPANIONS = {"redis": "Redis", "cluster": "RabbitMQ cluster"}
"""What is started where it was asked for, as people call it."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _command(name: str) -> str:
    return f"{os.path.relpath(DIRECTORY)}/sandbox {name}"


@app.command()
def up(
    *,
    redis: Annotated[bool, typer.Option("--redis", help="Start a Redis too, for CONSUMERS_LOCK=redis.")] = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Start a RabbitMQ cluster of three nodes too; the settings name it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start this checkout's sandbox, unless it runs, and print the settings to use it: eval "$(sandbox up)"."""
    found, running = kept.up(settings.read(), redis=redis, cluster=cluster)
    _print(found, as_json=as_json)
    postgres, rabbitmq = found.versions()
    state = f"already running since {found.since:%Y-%m-%d %H:%M}" if running else "started"
    beside = "".join(f", {_COMPANIONS[name]} {version}" for name, version in found.companions.versions().items())
    typer.echo(
        f"PostgreSQL {postgres}, RabbitMQ {rabbitmq}{beside} ({found.kind}): {state}; to end them: {_command('down')}",
        err=True,
    )


@app.command()
def down() -> None:
    """End this checkout's sandbox and remove its data; also one that an earlier version kept for the whole user."""
    ended, per_user = kept.down(), kept.down_per_user()
    if per_user:
        typer.echo("ended the sandbox that an earlier version kept for this user", err=True)
    if ended or not per_user:
        typer.echo("ended" if ended else "nothing was running", err=True)


@app.command()
def status(*, as_json: Json = False) -> None:
    """Show whether this checkout's sandbox runs, and its versions; exit code 3 if a server does not answer."""
    found = kept.find()
    postgres, rabbitmq = found.versions() if found else (None, None)
    beside = found.companions.versions() if found else {}
    if as_json:
        kind = found.kind if found else None
        typer.echo(json.dumps({"kind": kind, "postgres": postgres, "rabbitmq": rabbitmq, **beside}))
    elif found is None:
        typer.echo(f"nothing is running; start it with: {_command('up')}")
    else:
        servers = {"PostgreSQL": postgres, "RabbitMQ": rabbitmq}
        servers |= {_COMPANIONS[name]: version for name, version in beside.items()}
        typer.echo(", ".join(f"{name} {version or 'does not answer'}" for name, version in servers.items()))
    if None in (postgres, rabbitmq, *beside.values()):
        raise typer.Exit(3)


@app.command()
def demo(
    *,
    tasks: Annotated[int, typer.Option(min=10, help="How many tasks to submit.")] = 20_000,
    rate: Annotated[
        float | None,
        typer.Option(min=1, help="How many tasks to submit per second over HTTP; 250 or less, unless given."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, and print how to use it.")] = False,
    as_json: Json = False,
) -> None:
    """Run tasks through the whole system; exit code 0 if each ended, and what completed was applied once.

    Some tasks fail and are tried again, some are cancelled. In the middle the
    relay and a consumer are killed and started again, and then the relay's slot
    is dropped: it polls the table, makes a new slot, and goes back to the WAL.
    """
    result = run.demo(settings.read(), tasks=tasks, rate=rate, keep=keep, console=Console(stderr=as_json))
    _finish(result, as_json=as_json)


@app.command(hidden=True)
def composed_demo(
    *,
    tasks: Annotated[int, typer.Option(min=10, help="How many tasks to submit.")] = 5000,
    url: Annotated[str, typer.Option(help="Where the task submission service is.")] = "http://nginx:8080",
    as_json: Json = False,
) -> None:
    """Run tasks through the containers of docker-compose.yml; exit code 0 if each was applied once.

    It runs in a container of its own there. In the middle the active relay's
    container is killed, and the other relay takes over.
    """
    _finish(composed.demo(settings.read(), tasks=tasks, url=url, console=Console(stderr=as_json)), as_json=as_json)


@app.command(hidden=True)
def partitioned_demo(
    *,
    orders: Annotated[int, typer.Option(min=10, help="How many orders to write.")] = 500,
    events: Annotated[int, typer.Option(min=1, help="How many events each order has.")] = 20,
    as_json: Json = False,
) -> None:
    """Run orders through the profile `partitioned` of docker-compose.yml; exit code 0 if the order of each was kept."""
    result = partitioned.demo(settings.read(), orders=orders, events=events)
    if as_json:
        typer.echo(json.dumps({**asdict(result), "out_of_order": result.out_of_order}))
    else:
        partitioned.show(result, Console())
    if not result.clean:
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def locking_demo(context: typer.Context) -> None:
    """Run `writers locking-demo` on a private Postgres.

    It takes that command's options (see its --help), and installs nginx if it
    is missing.
    """
    raise typer.Exit(locking.demo(settings.read(), context.args, console=Console(stderr=True)))


def _finish(result: Counts, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        show(result, Console())
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
                    **found.companions.versions(),
                    "settings": found.environment(),
                }
            )
        )
        return
    for name, value in found.environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")
