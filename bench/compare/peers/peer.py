"""What a peer is: its names, how it is installed, and what it is run with. Pure.

Its program reads JSON on standard input: `database_url`, `amqp_url`, `exchange`, `slot` (a name that it may use for
slot and publication), `directory` (for its own files), `lines` (only for table queues). It prints the line `ready` as
soon as it relays, and ends at SIGTERM.

Before anything is written it is started once, and ended when it is ready: there it makes its slot, or its own schema.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.compare.results import Arm

PeerKind = Literal["relay", "table queue"]
"""A table queue has no broker: its worker applies the events, and notes them in the file `lines`."""


@dataclass(frozen=True, slots=True)
class Command:
    """How the program of a peer is started."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """In addition to PATH and the like."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer."""

    name: str
    version: str
    kind: PeerKind
    about: str
    """One or two sentences for the report: its settings, what it writes itself, what it does not do."""
    install: Callable[[Path], Command]
    """Installs it into a directory that is kept, unless it is there; raises Problem when it cannot be had."""
    script: str | None = None
    """The name of an SQL example that is run before the program's first start, such as bench_peer_debezium.

    A function in it that uses the peer's own schema is in plpgsql, which looks for its tables when it is called.
    """
    aside: str | None = None
    """The name of an SQL example that returns the ids of the events that it still keeps: pending, failed, put away."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the report lists of its settings."""
    interval: float | None = None
    """Seconds between two polls that an event may wait for; None if it is told of new events."""
    ordered: bool = True
    """Whether it promises an order for each aggregate."""
    slow: bool = False
    """Whether it publishes less than some 1,000 events per second: its drain has fewer events."""

    @property
    def arm(self) -> Arm:
        """Return it as an arm of a comparison."""
        return Arm(
            f"{self.name} {self.version}",
            "peer",
            interval=self.interval,
            ordered=self.ordered,
            settings=dict(self.settings),
            about=self.about,
        )
