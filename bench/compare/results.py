"""What `bench compare` measured: everything that its report needs, as JSON with a version. Pure, apart from two files.

A run is one arm in one repetition, and one file while the comparison runs. It has phases: loads, a drain, a minute
without events, incidents, edges. A phase has whatever was measured in it: figures by name, distributions, series over
time, counts of what arrived. Units are those of SI: seconds, bytes, 1/s.
"""

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from bench.compare.distribution import Distribution
from outboxkit.errors import Problem

VERSION = 1
"""Of the JSON; a change of any field's name or meaning raises it."""

Family = Literal["wal", "polling", "control", "peer", "none"]
Kind = Literal["load", "drain", "rates", "idle", "outage", "large", "edge"]
CONFIRMED = "confirmed"
APPLIED = "applied"
"""The two latencies, from an event's intended time: until RabbitMQ confirmed it, and until a consumer applied it."""
LAG = "lag"
RETAINED = "retained_bytes"
TABLE = "table_bytes"
"""The series of an incident: the age of the oldest event that is not confirmed; WAL kept for the slot; the outbox."""


class Arm(Struct, frozen=True, forbid_unknown_fields=True):
    """One way of relaying, or none at all: what the writers' cost is compared with."""

    name: str
    family: Family
    interval: float | None = None
    """Seconds between two polls."""
    notified: bool = False
    """Whether writers wake it between two polls."""
    ordered: bool = True
    """Whether it promises an order for each aggregate. Where it does not, what is reordered is no fault."""
    settings: dict[str, str] = field(default_factory=dict)
    about: str = ""
    """Of a peer: what it is run with, and what it does not do."""


class Figure(Struct, frozen=True, forbid_unknown_fields=True):
    """One number that was measured; bench/compare/quantities.py knows what its name means."""

    value: float
    unit: str


class Series(Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity over time, in seconds from the phase's start."""

    unit: str
    points: tuple[tuple[float, float], ...]


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One rate that was tried in the search for the highest that is sustained."""

    offered: float
    """Events per second, by the schedule."""
    achieved: float
    """Events per second, as committed."""
    confirmed: float
    """Events per second, as confirmed by RabbitMQ."""
    lag: float
    """Seconds, at the end of the step."""
    bounded: bool
    """Whether the lag stayed so."""


class Correctness(Struct, frozen=True, forbid_unknown_fields=True):
    """Which of the committed events arrived, and how."""

    committed: int
    missed: int
    duplicated: int
    reordered: int
    """First arrivals after one of the same aggregate that was committed later."""
    unfinished: int = 0
    """Not there when the time was over, while others still arrived: late, and not missed."""


class Edge(Struct, frozen=True, forbid_unknown_fields=True):
    """What became of the events while something was broken."""

    committed: int
    lost: int
    """Never arrived, and not kept anywhere."""
    kept_aside: int
    """Put away, or still waiting, when everything worked again and nothing came any more."""
    redriven: int
    """Of these, those that arrived when an operator published them again."""
    duplicated: int
    """Arrived again under the same message id: a consumer knows them by it."""
    duplicated_otherwise: int
    """Arrived again without a message id, or under a new one."""
    restarts: int
    """How often the program ended, and was started again as systemd does."""


class Phase(Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a run. What was not measured in it is left out."""

    name: str
    """As people read it; the same part has the same name in each run."""
    kind: Kind
    settings: dict[str, str] = field(default_factory=dict)
    """Of a load: rate, arrivals, rows of a transaction, bytes of a payload."""
    figures: dict[str, Figure] = field(default_factory=dict)
    latencies: dict[str, Distribution] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)
    """When something happened, in the series' seconds, such as "broker down" and "broker up"."""
    steps: tuple[Step, ...] = ()
    correctness: Correctness | None = None
    edge: Edge | None = None
    not_measured: str | None = None
    """Why not."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Why a figure is not among the others, by its name."""


class Run(Struct, frozen=True, forbid_unknown_fields=True):
    """One arm in one repetition."""

    arm: str
    repetition: int
    """From 0."""
    phases: tuple[Phase, ...] = ()
    not_measured: str | None = None
    """Why not, for example that wal2json is not installed."""


class Surroundings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a reader needs to compare the figures with others, and to run the same again."""

    seed: int
    started_at: str
    """ISO 8601, UTC."""
    repetitions: int
    quick: bool
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, str]
    """Of every arm."""
    workload: dict[str, str]


class Stopped(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a comparison ended before all its runs were made."""

    reason: Literal["interrupted", "time limit", "earlier"]
    """Ctrl-C; no other run would have ended in time; or it had ended before, and only peers were measured now."""
    made: int
    planned: int
    limit: float | None
    """Seconds; None: there is no time limit."""
    go_on: str
    """The command that makes the other runs."""


class Results(Struct, frozen=True, forbid_unknown_fields=True):
    """All runs of one comparison."""

    surroundings: Surroundings
    arms: tuple[Arm, ...]
    """In the order in which the report names them."""
    runs: tuple[Run, ...]
    complete: bool = True
    """Whether all runs were made."""
    version: int = VERSION
    stopped: Stopped | None = None
    """Why not all were made; None if they were."""


class _Versioned(Struct):
    """Any file of ours, of any version."""

    version: int


def encoded(found: Results | Run) -> bytes:
    """Return the JSON of results, or of one run."""
    return msgspec.json.encode(found)


def decoded(text: bytes, *, where: str) -> Results:
    """Return the results in `text`; raises Problem for any other JSON, naming `where` it stands."""
    try:
        version = msgspec.json.decode(text, type=_Versioned).version
        if version != VERSION:
            raise Problem(
                f"{where} has version {version} of the results; this bench reads version {VERSION}",
                remedy="read it with the bench that wrote it, or measure again",
            )
        return msgspec.json.decode(text, type=Results)
    except msgspec.DecodeError as error:
        raise Problem(
            f"{where} has no results of bench compare: {error}",
            remedy="name the results.json that bench compare wrote",
        ) from error


def decoded_run(text: bytes) -> Run:
    """Return the run in `text`; raises msgspec.DecodeError when it is cut or of another version."""
    return msgspec.json.decode(text, type=Run)


def read(path: Path) -> Results:
    """Return the results in the file `path`; raises Problem when it has none."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Problem(
            f"cannot read {path}: {error.strerror}", remedy="name the results.json that bench compare wrote"
        ) from error
    return decoded(text, where=str(path))


def write(found: Results, path: Path) -> None:
    """Write the JSON of `found` to `path`."""
    path.write_bytes(encoded(found) + b"\n")
