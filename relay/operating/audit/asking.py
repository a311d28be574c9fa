"""The questions of an audit, in one transaction, so that all answers are of one moment. It changes nothing.

Each bucket is read by the index on tx, between the two snapshots of its edges.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row, kwargs_row

from outboxkit import sql
from relay.core.position import Snapshot
from relay.operating.audit.findings import Applied, Changed, Event, Extra, Retired
from relay.storage.audit.buckets import Bucket, Edge, edge
from relay.storage.audit.outcome import Facts, Outcome, outcome_parameters


@dataclass(frozen=True, slots=True)
class Expected:
    """A consumer that takes events of a kind, since the first one that it has taken was confirmed."""

    aggregate_type: str
    event_type: str
    exchange: str
    routing_key: str
    consumer: str
    first_at: datetime


class Asking:
    """Asks about one relay, in the transaction that is open."""

    def __init__(self, connection: psycopg.Connection[Any], relay: str) -> None:
        self._connection = connection
        self._relay = relay

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Let all questions in the block be answered as of one moment."""
        self._connection.execute(sql.query("audit_begin"))
        self._connection.execute(sql.query("audit_lock"))
        yield  # an error closes the connection, and with it the transaction
        self._connection.execute(sql.query("audit_end"))

    def facts(self) -> Facts | None:
        """Return what the relay says of itself; None if there is no such relay."""
        cursor = self._connection.cursor(row_factory=kwargs_row(Facts))
        return cursor.execute(sql.query("audit_facts"), {"relay": self._relay}).fetchone()

    def edges(self, since: datetime, until: datetime) -> list[Edge]:
        """Return the positions of the past around a stretch of time."""
        rows = self._rows("audit_edges", {"since": since, "until": until})
        return [edge(**row) for row in rows]

    def remembered(self) -> datetime:
        """Return since when the inbox has all that was applied."""
        ((found,),) = self._connection.execute(sql.query("audit_remembered")).fetchall()
        assert isinstance(found, datetime)  # noqa: S101 - the query always returns one
        return found

    def outcome(self, bucket: Bucket, facts: Facts, confirmed_from: datetime | None = None) -> Outcome:
        """Return what became of the events of `bucket`."""
        (row,) = self._rows("audit_bucket", outcome_parameters(bucket, facts, confirmed_from))
        return Outcome(**row)

    def tasks(self, bucket: Bucket, confirmed_by: datetime) -> Applied:
        """Return which events of tasks are not applied."""
        (row,) = self._rows("audit_tasks", {**bucket.parameters(), "confirmed_by": confirmed_by})
        return Applied(row["judged"], row["waiting"], row["waiting_seqs"])

    def consumers(self, bucket: Bucket) -> list[Expected]:
        """Return which consumers have taken which events of `bucket`."""
        return [Expected(**row) for row in self._rows("audit_consumers", bucket.parameters())]

    def applied(
        self, bucket: Bucket, expected: Sequence[Expected], *, confirmed_by: datetime, remembered: datetime
    ) -> list[Applied]:
        """Return which events of `bucket` are not applied, for each consumer and for all of them."""
        columns = {f"{name}s": [getattr(each, name) for each in expected] for name in Expected.__slots__}
        times = {"confirmed_by": confirmed_by, "remembered": remembered}
        return [Applied(**row) for row in self._rows("audit_applied", {**bucket.parameters(), **columns, **times})]

    def events(self, bucket: Bucket, seqs: str, limit: int | None) -> list[Event]:
        """Return the events of `bucket` with these numbers."""
        if seqs == "{}" or limit == 0:
            return []
        rows = self._rows("audit_events", {**bucket.parameters(), "seqs": seqs, "limit": limit})
        return [Event(**row) for row in rows]

    def without_rows(self, after: Snapshot, confirmed_after: datetime, confirmed_until: datetime) -> list[Extra]:
        """Return what was confirmed and has no row, of what `after` may not see."""
        times = {"confirmed_after": confirmed_after, "confirmed_until": confirmed_until}
        seqs = self._seqs("audit_extra", {"after": str(after), **times})
        if seqs != "{}":
            seqs = self._seqs("audit_extra_all", {"seqs": seqs})
        return [] if seqs == "{}" else [Extra(**row) for row in self._rows("audit_extra_named", {"seqs": seqs})]

    def changed(self, after: Snapshot, confirmed_after: datetime, confirmed_until: datetime) -> list[Changed]:
        """Return what was confirmed under another id than its row has."""
        times = {"confirmed_after": confirmed_after, "confirmed_until": confirmed_until}
        return [Changed(**row) for row in self._rows("audit_changed", {"after": str(after), **times})]

    def retired(self, after: Edge, facts: Facts) -> list[Retired]:
        """Return what retention removed of what `after` may not see."""
        asked = {
            "after": str(after.snapshot),
            "since": after.at,
            "recorded_since": facts.since,
            "besides": facts.besides,
        }
        return [Retired(**row) for row in self._rows("audit_retired", asked)]

    def _seqs(self, query: str, parameters: dict[str, object]) -> str:
        row = self._connection.execute(sql.query(query), {"relay": self._relay, **parameters}).fetchone()
        assert row is not None  # noqa: S101 - the query always returns one row
        return str(row[0])

    def _rows(self, query: str, parameters: dict[str, object]) -> list[dict[str, Any]]:
        cursor = self._connection.cursor(row_factory=dict_row)
        return cursor.execute(sql.query(query), {"relay": self._relay, **parameters}).fetchall()
