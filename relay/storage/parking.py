"""Parks events that cannot be published: in relay.parked, in the database that they came from.

What is parked is durable before the relay's position moves past it. It has a session of its own: parked events may be
many and large, and nothing else has to wait for them. Redriving and discarding are an operator's commands
(relay/operating/parked).

A row is one event of one relay as it stood in the stream: relay, outbox, transaction, and place in the transaction. So
an event that comes again is stored once, and two events are two rows even when the application gave them one id.
"""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

import psycopg
from msgspec.structs import asdict
from psycopg.rows import kwargs_row

from outboxkit import sql
from relay.core.event import Defective, Headers, OutboxEvent
from relay.core.messages import headers as reading
from relay.core.messages.nesting import too_deep
from relay.core.ports import Rejection
from relay.core.position import Position
from relay.storage.position import columns
from relay.storage.sessions.session import Session

_SECONDS = 60.0
_AT_MOST_BYTES = 32 << 20
"""How many bytes of payloads are read at a time, beside the first one."""


class PostgresParking:
    """Stores the rejected events that `relay` read from `outbox`, a table or `message:prefix`; or replayed."""

    def __init__(self, session: Session, *, relay: str, outbox: str, replayed: bool = False) -> None:
        self._session = session
        self._whose = {"relay": relay, "outbox": outbox, "replayed": replayed}

    async def park(self, rejections: Sequence[Rejection], *, after: Position | None) -> None:
        """Store `rejections`, at least one, in one transaction; raises SourceUnavailable if it cannot be done now."""
        rows = [row(each.parcel.event, each.parcel.place, each.reason, each.detail) for each in rejections]
        await self._session.execute("park", {**parameters(rows, after=after), **self._whose}, seconds=_SECONDS)

    async def asked(self) -> Sequence[OutboxEvent]:
        """Return the first events that an operator wants published again; raises SourceUnavailable."""

        async def ask(connection: psycopg.AsyncConnection[Any]) -> Sequence[OutboxEvent]:
            cursor = connection.cursor(row_factory=kwargs_row(_event))
            await cursor.execute(sql.query("redrives_asked"), {"relay": self._whose["relay"], "bytes": _AT_MOST_BYTES})
            return await cursor.fetchall()

        return await self._session.work(ask, _SECONDS)

    async def redriven(self, rows: Sequence[int]) -> None:
        """Mark `rows`: their events were published again; raises SourceUnavailable."""
        await self._session.execute("redrives_done", {"relay": self._whose["relay"], "rows": list(rows)})


def _event(*, payload: bytes, headers: str, **columns: Any) -> OutboxEvent:  # noqa: ANN401 - the other fields
    return OutboxEvent(payload=bytes(payload), headers=reading.read(headers), **columns)


def parameters(rows: Sequence[dict[str, Any]], *, after: Position | None) -> dict[str, Any]:
    """Return the parameters of sql/queries/park.sql for `rows`, at least one, without those that say whose they are."""
    where = {f"after_{name}": value for name, value in columns(after).items()}
    return {**{name: [each[name] for each in rows] for name in rows[0]}, **where}


def row(event: OutboxEvent, place: int, reason: str, detail: str) -> dict[str, Any]:
    """Return the columns of an event, each in a form that Postgres takes: a refused one would stop the relay."""
    headers = event.headers.text if isinstance(event.headers, Headers) else json.dumps(event.headers)
    if isinstance(event.headers, Defective):
        headers = _as_json(headers)
    polled = event.place is not None
    told = {"headers": headers, "polled": polled, "place": place, "reason": reason, "detail": detail}
    return {name: _storable(value) for name, value in (asdict(event) | told).items()}


def _as_json(text: str) -> str:
    """Return `text`, or a JSON string of it if it is no JSON, or nests so deep that Postgres may not read it."""
    try:
        if not too_deep(text):
            _JSON.decode(text)
            return text
    except ValueError:
        pass
    return json.dumps(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


_JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse)


def _storable(value: object) -> object:
    match value:
        case str():  # text holds no zero byte: https://www.postgresql.org/docs/current/datatype-character.html
            return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        case int():  # a foreign table's numbers may be numeric
            return max(-(2**63), min(value, 2**63 - 1))
        case _:
            return value
