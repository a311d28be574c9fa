"""What the relay's own audit asks: bucket by bucket, from where it was the last time, each in a short transaction."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row, kwargs_row, scalar_row

from outboxkit import sql
from relay.storage.audit.buckets import Bucket, Edge, divide, edge
from relay.storage.audit.outcome import Facts, Outcome, outcome_parameters, require_record
from relay.storage.sessions.session import Session

_SECONDS = 60.0
"""A bucket with hours of events, which nobody was there to audit, is counted within this time."""
_WIDTH = timedelta(minutes=1)
_EARLIER = timedelta(hours=1)
"""How long before its commit is visible an event may be confirmed, at the first look."""


class RecentPast:
    """The recent past of `relay`."""

    def __init__(self, session: Session, *, relay: str) -> None:
        self._session = session
        self._relay = relay

    async def begin(self, ago: timedelta) -> Edge | None:
        """Return the position of the past at which an audit begins that goes back so far; None if there is none."""
        edges = await self._session.work(lambda connection: self._edges(connection, ago))
        return edges[0] if edges else None

    async def buckets(self, after: Edge) -> list[Bucket]:
        """Return what has passed since `after`."""
        now = await self._session.work(lambda connection: self._edges(connection, timedelta(0), after.at))
        return divide([after, *(each for each in now if each.at > after.at)], _WIDTH)

    async def outcome(self, bucket: Bucket) -> Outcome:
        """Return what became of the events of `bucket`.

        Raises a Problem if no confirms are recorded, and SourceUnavailable if Postgres cannot be asked now.
        """
        return await self._session.work(lambda connection: self._outcome(connection, bucket), _SECONDS)

    async def still_missing(self, seqs: str) -> str:
        """Return those of `seqs` that are neither confirmed nor parked by now."""
        found = await self._session.fetch(scalar_row, "audit_still_missing", {"relay": self._relay, "seqs": seqs})
        return str(found)

    async def _edges(
        self, connection: psycopg.AsyncConnection[Any], ago: timedelta, since: datetime | None = None
    ) -> list[Edge]:
        facts = await self._facts(connection)
        if facts is None or facts.since is None or not facts.recorded:
            return []  # the relay has not claimed its position yet
        asked = {"relay": self._relay, "since": since or facts.at - ago, "until": facts.at}
        cursor = connection.cursor(row_factory=dict_row)
        return [edge(**row) for row in await (await cursor.execute(sql.query("audit_edges"), asked)).fetchall()]

    async def _outcome(self, connection: psycopg.AsyncConnection[Any], bucket: Bucket) -> Outcome:
        await connection.execute(sql.query("audit_begin"))
        facts = await self._facts(connection)
        require_record(facts, self._relay)
        assert facts is not None  # noqa: S101 - it has a record
        found = await self._ask(connection, bucket, facts, bucket.after.at - _EARLIER)
        if found.missing:  # maybe some were confirmed still earlier
            found = await self._ask(connection, bucket, facts, None)
        await connection.execute(sql.query("audit_end"))
        return found

    async def _ask(
        self, connection: psycopg.AsyncConnection[Any], bucket: Bucket, facts: Facts, confirmed_from: datetime | None
    ) -> Outcome:
        cursor = connection.cursor(row_factory=kwargs_row(Outcome))
        asked = {"relay": self._relay, **outcome_parameters(bucket, facts, confirmed_from)}
        found = await (await cursor.execute(sql.query("audit_bucket"), asked)).fetchone()
        assert found is not None  # noqa: S101 - the query always returns one row
        return found

    async def _facts(self, connection: psycopg.AsyncConnection[Any]) -> Facts | None:
        cursor = connection.cursor(row_factory=kwargs_row(Facts))
        return await (await cursor.execute(sql.query("audit_facts"), {"relay": self._relay})).fetchone()
