"""How an attempt to apply an event ends: frozen values. Pure."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Applied:
    """The handler's transaction committed, and the claim with it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing was left to do."""

    why: str
    """duplicate or stale"""


@dataclass(frozen=True, slots=True)
class Gap:
    """An event before this one was not applied; `stored` is the version up to which all were, or None."""

    stored: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or its transaction could not be committed: nothing of it is there.

    A `final` failure is not tried again. `committed` if the handler itself ended the transaction, so that a part of
    what it did is there.
    """

    error: str
    traceback: str = ""
    final: bool = False
    committed: bool = False


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The handler did not run: Postgres is away, or refuses. It is no failure of the event."""

    reason: str
    by_operator: bool
    """Whether an operator must act."""


Outcome: TypeAlias = Applied | Skipped | Gap | Failed | Unavailable


def read(row: tuple[object, ...] | None) -> Outcome:
    """Return the outcome that a claim's row stands for; Applied means that the handler is to run now."""
    match row:
        case ("applied", _):
            return Applied()
        case ("duplicate" | "stale" as why, _):
            return Skipped(why)
        case ("gap", int() | None as stored):
            return Gap(stored)
        case _:
            raise ValueError(f"a claim returned {row!r}")
