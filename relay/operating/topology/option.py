"""The option `--topology` of `relay setup` and `relay check`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from outboxkit.amqp.format import NAMES
from outboxkit.errors import ConfigurationProblem
from relay.core.messages.cloudevents import CloudEvents
from relay.operating.topology.topology import Topology
from relay.settings import RelaySettings

Option = Annotated[
    str | None,
    typer.Option(
        "--topology",
        metavar="hash:N|stream:N",
        help="N queues behind the exchange, each with the events of its own aggregates: quorum queues, or the "
        "partitions of a super stream.",
    ),
]


def read(text: str | None, settings: RelaySettings, keys: Sequence[str] | None = None) -> Topology | None:
    """Return what the options say; raises ConfigurationProblem."""
    if text is None:
        if keys:
            raise ConfigurationProblem(
                "--topology-key says what the queues of a topology get, and --topology is missing",
                remedy="give --topology too, such as --topology hash:8",
            )
        return None
    names = NAMES if settings.format == "plain" else CloudEvents("", settings.cloudevents_prefix).names
    return Topology.read(text, source=settings.exchange, header=names.aggregate_id, keys=keys or ["#"])
