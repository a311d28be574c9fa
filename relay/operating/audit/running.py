"""Runs an audit: asks bucket by bucket, and puts the answers together."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from relay.core.position import Snapshot
from relay.core.transactions import Transactions
from relay.operating.audit.asking import Asking, Expected
from relay.operating.audit.findings import Event, Findings, Judged
from relay.operating.times import shown
from relay.storage.audit.buckets import EVER, Bucket, Edge, divide, settled
from relay.storage.audit.outcome import Facts, require_record, union

TASKS = "tasks"
"""What an event of a task waits for."""


class Wanted(NamedTuple):
    """What is asked for."""

    since: datetime
    until: datetime
    width: timedelta
    grace: timedelta
    limit: int | None
    """How many events of each sort are named; None for all."""
    ignored: Sequence[str] = ()
    """Consumers that are not expected to take anything."""
    by_type: bool = True
    """Whether events of one type have one routing key, so that a consumer takes all or none."""


class Audit:
    """One audit of `relay`; `asking` is in a transaction."""

    def __init__(self, asking: Asking, relay: str, wanted: Wanted) -> None:
        self._asking = asking
        self._wanted = wanted
        facts = asking.facts()
        self._since = require_record(facts, relay)
        assert facts is not None  # noqa: S101 - it has a record
        self._facts: Facts = facts
        self._by = facts.at - wanted.grace
        self._now = Edge(facts.at, Snapshot.parse(facts.now))

    def run(self) -> Findings:
        """Return what is found."""
        wanted = self._wanted
        history = self._asking.edges(wanted.since, wanted.until)
        edges = self._edges(history)
        found = Findings(
            [Judged(bucket, self._asking.outcome(bucket, self._facts)) for bucket in divide(edges, wanted.width)]
        )
        if not found.buckets:
            found.notes.append(
                "no position of the past is known yet: the relay notes one every ten seconds while it runs"
            )
            return found
        if edges[0].at > wanted.since:
            begin = shown(edges[0].at)
            found.notes.append(f"positions of the past begin at {begin} UTC: what was committed before is not audited")
        if unrecorded := found.total("unrecorded"):
            found.notes.append(f"{unrecorded} events are older than the record of confirms, and are not audited")
        self._name_missing(found)
        self._compare_records(found, history)
        self._judge_retired(found)
        self._judge_tasks(found)
        self._judge_consumers(found)
        return found

    def _edges(self, history: Sequence[Edge]) -> list[Edge]:
        """Return the edges of the buckets; the first is the record's begin, where the history begins too late."""
        edges = [*history] or [self._now]
        begin = Edge(EVER, Snapshot.parse(self._since))
        if edges[0].at > self._wanted.since and begin.snapshot.xmin <= edges[0].snapshot.xmin:
            edges.insert(0, begin)
        if edges[-1].at < self._wanted.until:
            edges.append(self._now)
        return edges

    def _name_missing(self, found: Findings) -> None:
        for each in found.buckets:
            found.missing += self._events(each.bucket, each.outcome.missing_seqs, len(found.missing))

    def _compare_records(self, found: Findings, history: Sequence[Edge]) -> None:
        """Compare what was confirmed in the time of the buckets with the rows."""
        first, last = found.buckets[0].bucket.after, found.buckets[-1].bucket.until
        until = settled(history, self._now.snapshot)
        if until is None or until <= first.at:
            found.notes.append(
                "whether rows were deleted is not known yet: transactions of the whole time may still be open"
            )
            return
        # What was published late was committed long before it was confirmed.
        after = first.published if first.published and first.published.xmin < first.snapshot.xmin else first.snapshot
        found.extra = self._asking.without_rows(after, first.at, min(until, last.at))
        found.changed = self._asking.changed(after, first.at, min(until, last.at))
        for each in found.buckets:
            each.extra = sum(each.bucket.after.at < extra.at <= each.bucket.until.at for extra in found.extra)

    def _judge_retired(self, found: Findings) -> None:
        found.retired = self._asking.retired(found.buckets[0].bucket.after, self._facts)
        if unjudged := sum(each.events for each in found.retired if not each.judged):
            found.notes.append(
                f"{unjudged} events that retention removed are older than the record, and are not audited"
            )

    def _judge_tasks(self, found: Findings) -> None:
        if not self._facts.tasks:
            found.notes.append("tasks.task is not in this database, or this role may not read it: tasks are not judged")
            return
        for each in found.buckets:
            applied = self._asking.tasks(each.bucket, self._by)
            each.applied.append(applied)
            named = self._events(each.bucket, applied.waiting_seqs, len(found.not_applied))
            found.not_applied += [(event, (TASKS,)) for event in named]

    def _judge_consumers(self, found: Findings) -> None:
        """Judge each event by the consumers that have taken an event of its kind that was confirmed earlier."""
        if not self._facts.inbox:
            found.notes.append(
                "the inbox is not in this database, or this role may not read it: consumers are not judged"
            )
            return
        if not self._wanted.by_type:
            found.notes.append("routing keys depend on more than the type: consumers of events are not judged")
            return
        remembered, expected = self._asking.remembered(), list[Expected]()
        for each in found.buckets:
            expected = self._widened(expected, self._asking.consumers(each.bucket))
            if not expected:
                continue
            rows = self._asking.applied(each.bucket, expected, confirmed_by=self._by, remembered=remembered)
            each.by_consumer = [row for row in rows if row.consumer is not None]
            each.applied += [row for row in rows if row.consumer is None]
            waiting = union([row.waiting_seqs for row in each.by_consumer])
            by = {row.consumer: Transactions.parse(row.waiting_seqs) for row in each.by_consumer if row.consumer}
            for event in self._events(each.bucket, waiting, len(found.not_applied)):
                found.not_applied.append((event, [name for name, seqs in by.items() if event.seq in seqs]))

    def _widened(self, expected: Sequence[Expected], more: Sequence[Expected]) -> list[Expected]:
        """Return who takes what, each since the first of a kind that was confirmed."""
        first: dict[Expected, datetime] = {}
        for each in (*expected, *more):
            if each.consumer not in self._wanted.ignored:
                kind = replace(each, first_at=EVER)
                first[kind] = min(each.first_at, first.get(kind, each.first_at))
        return [replace(kind, first_at=at) for kind, at in first.items()]

    def _events(self, bucket: Bucket, seqs: str, named: int) -> list[Event]:
        limit = self._wanted.limit
        return self._asking.events(bucket, seqs, None if limit is None else max(0, limit - named))
