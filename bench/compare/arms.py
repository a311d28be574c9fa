"""The ways of relaying that are compared, and what each is run with. Pure.

Every arm runs through the same engine and publisher, with a window of the same size. The two controls are relays that
people write by hand; they are in bench/compare/controls only.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from msgspec import Struct

from bench.compare.peers.peer import Command, Peer
from bench.compare.results import Arm
from outboxkit.errors import ConfigurationProblem

Control = Literal["last_id", "one_confirm"]
_SOON = "0.1"
"""Seconds between two polls of arms whose interval is not what is compared."""


class Way(Struct, frozen=True):
    """An arm, and the processes that are it."""

    arm: Arm
    processes: int = 1
    control: Control | None = None
    """None: `relay run` with the arm's settings, or a peer's program."""
    peer: Peer | None = None
    command: Command | None = None
    """How the program of the peer is started."""

    @property
    def relays(self) -> bool:
        """Whether anything is relayed."""
        return self.arm.family != "none"

    @property
    def interval(self) -> float:
        """Seconds that an event may wait for the next poll."""
        return 0.0 if self.arm.notified else self.arm.interval or 0.0

    @property
    def slow(self) -> bool:
        """Whether it waits for each confirm."""
        return self.control == "one_confirm" or (self.peer is not None and self.peer.slow)

    @property
    def queued(self) -> bool:
        """Whether its events come to the consumer over RabbitMQ."""
        return self.peer is None or self.peer.kind == "relay"

    @property
    def setup(self) -> Mapping[str, str]:
        """The settings of `relay setup`; controls and peers use its schema and its exchange."""
        return self.arm.settings if self.arm.family in {"wal", "polling"} else {"RELAY_SOURCE": "polling"}

    @property
    def slug(self) -> str:
        """Its name as that of a file."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.arm.name.lower())


def _wal(plugin: str) -> Way:
    settings = {"RELAY_SOURCE": "wal", "RELAY_PLUGIN": plugin}
    return Way(Arm(f"WAL ({plugin})", "wal", settings=settings))


def _polling(name: str, interval: str, *, notified: bool = False) -> Way:
    settings = {"RELAY_SOURCE": "polling", "RELAY_POLL_INTERVAL": interval}
    if notified:
        settings["RELAY_POLL_NOTIFY"] = "true"
    return Way(Arm(name, "polling", interval=float(interval), notified=notified, settings=settings))


def _sharing(pollers: int) -> Way:
    settings = {
        "RELAY_SOURCE": "polling", "RELAY_POLL_STRATEGY": "skip_locked", "RELAY_POLL_INTERVAL": _SOON,
    }  # fmt: skip
    name = f"skip_locked, {pollers} poller{'s' if pollers > 1 else ''}"
    return Way(Arm(name, "polling", interval=float(_SOON), ordered=False, settings=settings), processes=pollers)


def _control(name: str, control: Control) -> Way:
    return Way(Arm(name, "control", interval=float(_SOON), settings={"interval": _SOON}), control=control)


ALL = (
    _wal("wal2json"),
    _wal("pgoutput"),
    _polling("polling, 100 ms", "0.1"),
    _polling("polling, 1 s", "1"),
    _polling("polling, 10 s", "10"),
    _polling("polling, notify", "10", notified=True),
    _sharing(1),
    _sharing(4),
    _control("control: last id", "last_id"),
    _control("control: one confirm at a time", "one_confirm"),
    Way(Arm("no relay", "none")),
)


Named = TypeVar("Named", Way, Peer)


def chosen(parts: Sequence[str]) -> tuple[Way, ...]:
    """Return the arms that have one of `parts` in their names, or all if there are no parts.

    Raises ConfigurationProblem for a part that is in no name.
    """
    return picked(parts, ALL, "arm")


def picked(parts: Sequence[str], among: Sequence[Named], what: str) -> tuple[Named, ...]:
    """Return those whose arm has one of `parts` in its name, or all; `what` is how an error calls one of them."""
    for part in parts:
        if not any(part in each.arm.name for each in among):
            names = ", ".join(repr(each.arm.name) for each in among)
            raise ConfigurationProblem(f"no {what} has {part!r} in its name", remedy=f"the {what}s are {names}")
    return tuple(each for each in among if not parts or any(part in each.arm.name for part in parts))


def named(name: str) -> Way:
    """Return the arm with this name."""
    return next(way for way in ALL if way.arm.name == name)
