"""The option `--topology` of `relay setup` and `relay check`; without it, RELAY_TOPOLOGY counts."""

from typing import Annotated

import typer

from relay.operating.topology.topology import Topology
from relay.settings import RelaySettings

Option = Annotated[
    str | None,
    typer.Option(
        "--topology",
        metavar="hash:N|stream:N",
        help="N queues behind the exchange, each with the events of its own aggregates: quorum queues, or the "
        "partitions of a super stream. By default RELAY_TOPOLOGY, which `relay run` needs for any of them.",
    ),
]


def read(text: str | None, settings: RelaySettings) -> Topology | None:
    """Return what the option or the settings say; raises ConfigurationProblem."""
    text = settings.topology if text is None else text
    if text is None:
        return None
    return Topology.read(text, source=settings.exchange, keys=settings.topology_keys.split(","))
