"""What the writers do in a load: which transaction begins when, and what becomes of it. Pure, and drawn by a seed.

Arrivals are open: when a transaction is due does not depend on how long the ones before it take. So a database that
stands still makes every transaction late that was due meanwhile, and latencies count from when it was due.

All runs of a comparison get the same schedule.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from outboxkit.errors import ConfigurationProblem

_Positive = Annotated[float, Meta(gt=0)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Weights = Annotated[dict[Annotated[int, Meta(ge=1)], _Positive], Meta(min_length=1)]
_ROWS_AT_MOST = 1000
_BYTES_AT_MOST = 500_000
_TOGETHER = 10
"""Aggregates that one transaction touches, at most."""


class Load(Struct, frozen=True, forbid_unknown_fields=True):
    """How transactions arrive and what they write."""

    name: str
    rate: _Positive = 100.0
    """Events per second, while no idle period is."""
    arrivals: Literal["poisson", "bursty"] = "poisson"
    burst: Annotated[float, Meta(ge=1)] = 20.0
    """How many transactions a burst has on average; all of it are due at the same time."""
    rows: _Weights = field(default_factory=lambda: {1: 1.0})
    """How many events a transaction writes, with weights."""
    payload_bytes: _Weights = field(default_factory=lambda: {200: 1.0})
    """How many bytes a payload has, with weights; each transaction draws one."""
    open_share: _Share = 0.1
    """The share of transactions that stay open for a while after they have written."""
    open_seconds: _Positive = 0.05
    """How long those stay open, on average; the length is exponential, and ten times this at most."""
    rollbacks: _Share = 0.02
    """The share of transactions that are rolled back."""
    aggregates: Annotated[int, Meta(ge=_TOGETHER, le=100_000)] = 1000
    hot: Annotated[int, Meta(ge=1)] = 10
    """How many of the aggregates are hot."""
    hot_share: _Share = 0.0
    """The share of transactions that write to hot aggregates."""
    idle_every: Annotated[float, Meta(ge=0)] = 0.0
    """After so many seconds nothing is written for a while; 0: there is always something."""
    idle_seconds: Annotated[float, Meta(ge=0)] = 0.0


class Workload(Struct, frozen=True, forbid_unknown_fields=True):
    """The loads of a comparison, one after the other."""

    load: Annotated[tuple[Load, ...], Meta(min_length=1)]


class Transaction(Struct, frozen=True):
    """One transaction of a schedule. Times are seconds from the schedule's begin."""

    due: float
    """When it begins."""
    open: float
    """How long it stays open after it has written."""
    rolls_back: bool
    rows: int
    payload_bytes: int
    aggregate: int
    """The first of the aggregates that it writes to; the others follow it."""

    @property
    def ends(self) -> float:
        """When it is due to commit."""
        return self.due + self.open


def read(path: Path) -> Workload:
    """Read a workload from a TOML file; raises ConfigurationProblem for one that says something else."""
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Workload)
    except OSError as error:
        raise ConfigurationProblem(
            f"cannot read the workload {path}: {error.strerror}", remedy="name a TOML file with tables [[load]]"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationProblem(
            f"{path} is no workload: {error}", remedy="docs/comparison.md shows each key of a [[load]]"
        ) from error
    for load in found.load:
        _check(load, path)
    return found


def _check(load: Load, path: Path) -> None:
    names = {"rows": (load.rows, _ROWS_AT_MOST), "payload_bytes": (load.payload_bytes, _BYTES_AT_MOST)}
    for name, (weights, most) in names.items():
        if max(weights) > most:
            raise ConfigurationProblem(
                f"{name} of load {load.name!r} in {path} is {max(weights)}", remedy=f"write {most} at most"
            )
    if load.hot + _TOGETHER > load.aggregates:
        raise ConfigurationProblem(
            f"load {load.name!r} in {path} has {load.aggregates} aggregates, and {load.hot} of them hot",
            remedy=f"let at least {_TOGETHER} be not hot",
        )


def mean(weights: dict[int, float]) -> float:
    """Return the mean of what is drawn by `weights`."""
    return sum(value * weight for value, weight in weights.items()) / sum(weights.values())


def schedule(load: Load, seconds: float, seed: str) -> list[Transaction]:
    """Return the transactions that are due within `seconds`, in that order."""
    draw = random.Random(f"{seed} {load.name}")  # noqa: S311 - for a schedule that can be repeated
    found = []
    for due in _arrivals(load, seconds, draw):
        rows, payload = _drawn(load.rows, draw), _drawn(load.payload_bytes, draw)
        stays_open, rolls_back, hot = (
            draw.random() < share for share in (load.open_share, load.rollbacks, load.hot_share)
        )
        length = min(draw.expovariate(1 / load.open_seconds), 10 * load.open_seconds)
        most = load.aggregates - load.hot - min(rows, _TOGETHER)
        aggregate = draw.randrange(load.hot) if hot else load.hot + draw.randint(0, most)
        found.append(Transaction(due, length if stays_open else 0.0, rolls_back, rows, payload, aggregate))
    return found


def together(rows: int) -> int:
    """Return how many aggregates a transaction of `rows` events writes to."""
    return min(rows, _TOGETHER)


def _drawn(weights: dict[int, float], draw: random.Random) -> int:
    return draw.choices(tuple(weights), tuple(weights.values()))[0]


def _arrivals(load: Load, seconds: float, draw: random.Random) -> Iterator[float]:
    """Yield when transactions are due. A burst of one transaction each is what Poisson arrivals are."""
    size = load.burst if load.arrivals == "bursty" else 1.0
    each = mean(load.rows) * size / load.rate
    at = draw.expovariate(1 / each)
    while (due := _stretched(load, at)) < seconds:
        yield from [due] * _burst(size, draw)
        at += draw.expovariate(1 / each)


def _burst(size: float, draw: random.Random) -> int:
    """Draw a geometric number with mean `size`, at least 1."""
    count = 1
    while draw.random() < 1 - 1 / size:
        count += 1
    return count


def _stretched(load: Load, at: float) -> float:
    """Return when what would be due `at` is due with the idle periods before it."""
    return at + load.idle_seconds * (at // load.idle_every) if load.idle_every else at


def sessions(transactions: Sequence[Transaction], most: int, *, between: float = 0.005) -> list[list[int]]:
    """Deal the numbers of `transactions` out to at most `most` sessions, each to the one that is free first.

    A session is taken as free `between` seconds after the end of its last transaction. If that is wrong, the next one
    begins late, and its lateness counts.
    """
    free = [0.0] * most
    dealt: list[list[int]] = [[] for _ in range(most)]
    for number, transaction in enumerate(transactions):
        session = next((n for n, at in enumerate(free) if at <= transaction.due), free.index(min(free)))
        dealt[session].append(number)
        free[session] = max(free[session], transaction.due) + transaction.open + between
    return [each for each in dealt if each]


def committed(transactions: Sequence[Transaction]) -> int:
    """Return how many events the schedule commits."""
    return sum(each.rows for each in transactions if not each.rolls_back)
