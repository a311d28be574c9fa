"""What an audit has found, and what that means. Pure.

confirmed ─┐
parked     ├─ accounted for
pending    ┘  not published yet, or its transaction may still be open
missing       the position says that it was published, and nothing says that RabbitMQ confirmed it
extra         confirmed, and neither in the outbox nor removed by retention: a row was deleted by hand
changed       confirmed under another id than its row has
not applied   confirmed for a while, and a consumer that takes such events has not applied it
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from relay.storage.audit.buckets import Bucket
from relay.storage.audit.outcome import Outcome, count


class Applied(NamedTuple):
    """How many events were judged, how many wait, and which; of one consumer, or of all with None."""

    judged: int
    waiting: int
    waiting_seqs: str
    consumer: str | None = None


class Event(NamedTuple):
    """An event that an audit names; the columns of sql/queries/audit_events.sql."""

    seq: int
    id: str
    aggregate_type: str
    aggregate_id: str
    aggregate_version: int
    event_type: str
    created_at: datetime


class Extra(NamedTuple):
    """An event without a row; its id is None when the record of its confirm was merged with others."""

    seq: int
    id: str | None
    at: datetime


class Changed(NamedTuple):
    """An event whose row has another id than was confirmed; None in a merged record: one of its events is it."""

    seq: int
    confirmed: str | None
    id: str


class Retired(NamedTuple):
    """What retention removed; it is judged if all of it was committed after the record began."""

    partition: str
    events: int
    retired_at: datetime
    judged: bool
    missing_seqs: str | None

    @property
    def missing(self) -> int:
        """How many of its events were neither confirmed nor parked."""
        return count(self.missing_seqs) if self.judged and self.missing_seqs else 0


@dataclass(slots=True)
class Judged:
    """A bucket with what was found of it."""

    bucket: Bucket
    outcome: Outcome
    applied: list[Applied] = field(default_factory=list)
    """Of tasks, and of all consumers of events together."""
    by_consumer: list[Applied] = field(default_factory=list)
    extra: int = 0

    @property
    def judged(self) -> int:
        """How many of its events consumers should have applied."""
        return sum(each.judged for each in self.applied)

    @property
    def not_applied(self) -> int:
        """How many of these they have not."""
        return sum(each.waiting for each in self.applied)


@dataclass(slots=True)
class Findings:
    """The answer to an audit."""

    buckets: list[Judged]
    retired: list[Retired] = field(default_factory=list)
    extra: list[Extra] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    missing: list[Event] = field(default_factory=list)
    """Named; as many as were asked for."""
    not_applied: list[tuple[Event, Sequence[str]]] = field(default_factory=list)
    """Named, with what has not applied them: consumers, or `tasks`."""
    notes: list[str] = field(default_factory=list)
    """What was not judged, and why."""

    def total(self, column: str) -> int:
        """Return the sum of a column over all buckets."""
        return sum(int(getattr(each.outcome, column)) for each in self.buckets)

    def without_missing(self) -> "Findings":
        """Return what is left when the missing ones were confirmed."""
        buckets = [replace(each, outcome=each.outcome.repaired()) for each in self.buckets]
        return replace(self, buckets=buckets, missing=[])

    @property
    def lost(self) -> int:
        """How many events are missing, with those that retention has removed since."""
        return self.total("missing") + sum(each.missing for each in self.retired)

    @property
    def unapplied(self) -> int:
        """How many events are not applied."""
        return sum(each.not_applied for each in self.buckets)

    @property
    def compared(self) -> int:
        """How many events something could be said of."""
        removed = sum(each.events for each in self.retired if each.judged)
        return self.lost + self.total("confirmed") + self.total("parked") + len(self.extra) + removed

    @property
    def verdict(self) -> str:
        """What is wrong, or `clean`; an empty comparison is not clean."""
        wrong = {"missing": self.lost, "not applied": self.unapplied, "extra": self.extra, "changed": self.changed}
        if found := [name for name, events in wrong.items() if events]:
            return ", ".join(found)
        return "clean" if self.compared else "nothing to compare"
