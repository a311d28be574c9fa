"""The command `relay`: its subcommands, and how `relay run` starts."""

from typing import Annotated

import typer

from outboxkit.process import commands
from outboxkit.process.streams import until_reader_leaves
from outboxkit.settings import reloading
from relay.operating import retention
from relay.operating.audit.command import audit
from relay.operating.check.command import check
from relay.operating.options import Config
from relay.operating.parked import commands as parked
from relay.operating.positions import positions
from relay.operating.replay import command as replay
from relay.operating.setup.command import setup
from relay.operating.slot import commands as slot
from relay.operating.status.command import status
from relay.operating.switch import switch
from relay.operating.tail.command import tail
from relay.settings import RelaySettings

app = typer.Typer(
    name="relay",
    help="Publishes the events of a Postgres outbox to RabbitMQ, from the WAL. Settings: RELAY_* variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(commands.options)


def run(
    config: Config = None,
    *,
    stdout: Annotated[
        bool,
        typer.Option(
            "--stdout", help="Print messages as JSON lines instead of publishing them. The slot does not advance."
        ),
    ] = False,
) -> None:
    """Relay events until SIGTERM or SIGINT, then drain and exit with 0."""
    # These take a third of a second to import, so only the commands that need them import them.
    from outboxkit.process import logs, service  # noqa: PLC0415 - see above
    from relay import app as relay  # noqa: PLC0415 - see above

    logs.configure()
    fresh = reloading(RelaySettings, config)
    with logs.bugs(), until_reader_leaves():
        service.run(lambda stop: relay.run(fresh, stop, stdout=stdout), prints=stdout)


for command in (setup, run, check, status, switch, tail, positions, audit):
    app.command()(command)
app.add_typer(parked.app, name="parked")
app.add_typer(replay.app, name="replay")
app.add_typer(slot.app, name="slot")
app.add_typer(retention.app, name="retention")


def main() -> None:
    """Run `relay` as a process."""
    commands.run(app, name="relay")
