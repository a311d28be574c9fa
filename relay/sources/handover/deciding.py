"""Which source the relay reads. Pure: it judges facts that others have asked for."""

from dataclasses import dataclass
from typing import Literal

from outboxkit.errors import Problem
from relay.core.errors import PluginRefused, SlotMissing, WalRefused
from relay.core.position import Lsn
from relay.storage.facts import Facts
from relay.storage.state import Mode, State

Wanted = Literal["auto", "wal", "polling"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The source that is opened, and why."""

    mode: Mode
    reason: str
    """A few words, for the history of hand-overs and for a metric."""
    detail: str
    """A sentence for an operator."""


def bound(source: Wanted, asked: Wanted, unpollable: Problem | None) -> Wanted:
    """Return what the relay is bound to: `source`, which is set, or what is asked for with `relay switch`.

    A setting is a limit. A request is a wish: where it cannot be met the relay reads what it can.
    """
    if source == "auto" and asked == "polling" and unpollable is None:
        return "polling"
    return source


def choose(state: State, bound_to: Wanted, refused: Problem | None, unpollable: Problem | None) -> Choice:
    """Return what is opened from `state`; `bound_to` is one source, or auto.

    `refused` is why the WAL cannot be read, `unpollable` why the table cannot.

    Raises `refused` or `unpollable` where there is no other way.
    """
    if bound_to == "polling":
        if unpollable is not None:
            raise unpollable
        return Choice("polling", "asked for", "RELAY_SOURCE or `relay switch` asks for it")
    if refused is not None:
        if bound_to == "wal" or unpollable is not None:
            raise refused
        return Choice("polling", reason(refused), refused.what)
    if state.mode == "polling":
        if unpollable is not None:
            raise unpollable
        return Choice("polling", "not ended", "what the table has is polled first, so that nothing is missed")
    return Choice("wal", "works", "the WAL can be read")


def reason(refused: Problem) -> str:
    """Return in a few words why the WAL cannot be read."""
    return refused.reason if isinstance(refused, WalRefused) else "not permitted"


def lasting(refused: Problem | None) -> Problem | None:
    """Return what keeps a new slot from being made, or None: a slot that is gone or was moved is no obstacle."""
    if isinstance(refused, WalRefused) and not isinstance(refused, PluginRefused | SlotMissing):
        return None if refused.reason == "slot moved" else refused
    return None if isinstance(refused, SlotMissing) else refused


def kept(state: State, facts: Facts) -> bool:
    """Return whether the slot has everything behind the position that was streamed last: nobody moved it meanwhile."""
    if state.lsn is None or facts.slot is None or facts.wal_status == "lost" or facts.confirmed_flush_lsn is None:
        return False
    return Lsn.parse(facts.confirmed_flush_lsn) <= state.lsn <= Lsn.parse(facts.wal_end)
