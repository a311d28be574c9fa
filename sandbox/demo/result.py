"""The result of a demo, counted from outside: by the writers' file of ids, a queue, and what handlers left."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg

from outboxkit import sql
from outboxkit.errors import Problem

_ENDED_OTHERWISE = frozenset({"cancelled", "dead"})
"""States in which a task must have no effect."""
_ENDS = _ENDED_OTHERWISE | {"completed"}
_THERE_AND_BACK = [("wal", "polling"), ("polling", "wal")]


@dataclass(frozen=True)
class Switch:
    """A change of the relay from one source to the other."""

    from_mode: str
    to_mode: str
    reason: str


@dataclass(frozen=True)
class Counts:
    """What every demo counts; latencies are milliseconds from a task's commit to that of its completion.

    In `sandbox demo` they are those of the tasks after the backlog, all of them, also while something is broken.
    """

    committed: int
    published: int
    duplicates_absorbed: int
    applied_exactly_once: int
    applied_twice: int
    lost: int
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None
    events_per_second: float
    """In the time of the middle nine tenths of the completions; in `sandbox demo`, of those of the backlog."""

    @property
    def clean(self) -> bool:
        """Whether every committed task was applied, and none twice."""
        return self.committed > 0 and self.lost == 0 and self.applied_twice == 0


@dataclass(frozen=True)
class Result(Counts):
    """What `sandbox demo` counted: also what became of each task, and how the relay changed between its sources."""

    states: dict[str, int]
    """How many of the committed tasks are in each status."""
    not_accounted_for: int
    """Committed tasks that are not there, or have not ended."""
    effects_without_completion: int
    """Cancelled and dead tasks that have an effect all the same."""
    ran_twice_at_one_version: int
    runs_that_failed: int
    tried_again: int
    claims_given_back: int
    """Most are those of the consumer that was killed; their tasks ran again when the lease was over."""
    cancelled_while_they_ran: int
    audited: int
    """Events that `relay audit` found committed; and those without a confirm, or without a row."""
    audited_missing: int
    submitted_per_second: float
    """At which pace tasks were submitted over HTTP, after the backlog."""
    wal_seconds: float
    """For how long the relay read the WAL, and polled the table."""
    polling_seconds: float
    switches: list[Switch]
    """The first is that of the first start: what was committed before the slot was made is polled."""

    @property
    def clean(self) -> bool:
        """Whether every committed task ended, what completed was applied once, and the relay went there and back."""
        back = [(each.from_mode, each.to_mode) for each in self.switches][-2:] == _THERE_AND_BACK
        wrong = self.not_accounted_for + self.effects_without_completion + self.ran_twice_at_one_version
        wrong += self.audited_missing
        return super().clean and back and not wrong and sum(self.states.values()) == self.committed


@dataclass(frozen=True)
class Composed(Counts):
    """What `sandbox composed-demo` counted, and which relay took over."""

    killed: str
    """The container of the relay that was active, and of the one that was active after it."""
    taken_over_by: str
    takeover_seconds: float


def count(
    connection: psycopg.Connection[Any],
    committed: Sequence[str],
    published: Sequence[str],
    *,
    without_effect: Collection[str] = (),
    drained: datetime | None = None,
) -> Counts:
    """Compare the ids of committed tasks and of published messages with what was applied.

    Tasks that are to be `without_effect` are not lost. Until `drained` there was a backlog: the rate is that of before,
    the latencies are those of after.
    """
    effects = {str(task): number for task, number in connection.execute(sql.example("demo_applied")).fetchall()}
    latencies: Sequence[float | None] = (None, None, None)
    if _setting(connection, "track_commit_timestamp") == "on":
        (latencies,) = one(connection, "demo_latency", {"since": drained or "-infinity"})
    rate = events_per_second(connection, until=drained)
    return Counts(
        committed=len(committed),
        published=len(published),
        duplicates_absorbed=len(published) - len(set(published)),
        applied_exactly_once=sum(effects.get(task) == 1 for task in committed),
        applied_twice=sum(number > 1 for number in effects.values()),
        lost=sum(task not in effects and task not in without_effect for task in committed),
        latency_p50=latencies[0],
        latency_p95=latencies[1],
        latency_p99=latencies[2],
        events_per_second=rate,
    )


def events_per_second(connection: psycopg.Connection[Any], *, until: datetime | None = None) -> float:
    """Return how many tasks completed per second, in the middle nine tenths of those before `until`."""
    seconds, within = one(connection, "demo_span", {"until": until or "infinity"})
    return within / seconds if seconds else 0.0


def count_all(  # noqa: PLR0913 - what was seen
    connection: psycopg.Connection[Any],
    committed: Sequence[str],
    published: Sequence[str],
    *,
    began: datetime,
    drained: datetime,
    pace: float,
    audit: Mapping[str, int],
) -> Result:
    """Count what became of each task, and for how long each source was read.

    By the database's clock, the relay was first started when it `began`, and the backlog was `drained`; after that,
    tasks were submitted at `pace`. `audit` has the totals of `relay audit`.
    """
    now: dict[str, str] = dict(connection.execute(sql.example("demo_states")).fetchall())
    without_effect = {task for task, status in now.items() if status in _ENDED_OTHERWISE}
    applied = {str(task) for task, _ in connection.execute(sql.example("demo_applied")).fetchall()}
    failed, again, released, stopped = one(connection, "demo_transitions")
    (repeated,) = one(connection, "demo_versions")
    streamed, polled = one(connection, "demo_sources", {"began": began})
    return Result(
        **vars(count(connection, committed, published, without_effect=without_effect, drained=drained)),
        states=dict(sorted(Counter(now.get(task, "missing") for task in committed).items())),
        not_accounted_for=sum(now.get(task) not in _ENDS for task in committed),
        effects_without_completion=len(applied & without_effect),
        ran_twice_at_one_version=repeated,
        runs_that_failed=failed,
        tried_again=again,
        claims_given_back=released,
        cancelled_while_they_ran=stopped,
        audited=audit["committed"],
        audited_missing=audit["missing"] + audit["extra"] + audit["changed"],
        submitted_per_second=pace,
        wal_seconds=streamed,
        polling_seconds=polled,
        switches=[Switch(*row) for row in connection.execute(sql.example("demo_switches")).fetchall()],
    )


def one(
    connection: psycopg.Connection[Any], name: str, parameters: Mapping[str, object] | None = None
) -> tuple[Any, ...]:
    """Run the query `name` and return its only row."""
    row = connection.execute(sql.example(name), parameters).fetchone()
    if row is None:
        raise Problem(f"{name}.sql returned no row", remedy="report it: this is a bug")
    return tuple(row)


def _setting(connection: psycopg.Connection[Any], name: LiteralString) -> str | None:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return row[0] if row else None
