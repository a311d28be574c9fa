"""Parks events that cannot be published: in relay.parked, in the database that they came from.

What is parked is durable before the relay's position moves past it. It has a session of its own: parked events may be
many and large, and nothing else has to wait for them. Redriving and discarding are an operator's commands
(relay/operating/parked).
"""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from msgspec.structs import asdict

from relay.core.event import Defective, Headers
from relay.core.ports import Rejection
from relay.core.position import Position
from relay.storage.position import columns
from relay.storage.session import Session

_SECONDS = 60.0


class PostgresParking:
    """Stores the rejected events of `relay`."""

    def __init__(self, session: Session, *, relay: str) -> None:
        self._session = session
        self._relay = relay

    async def park(self, rejections: Sequence[Rejection], *, after: Position | None) -> None:
        """Store `rejections`, at least one, in one transaction; raises SourceUnavailable if it cannot be done now."""
        rows = [_row(rejection) for rejection in rejections]
        parked = {name: [row[name] for row in rows] for name in rows[0]}
        where = {f"after_{name}": value for name, value in columns(after).items()}
        await self._session.execute("park", {**parked, **where, "relay": self._relay}, seconds=_SECONDS)


def _row(rejection: Rejection) -> dict[str, Any]:
    """Return the columns of an event, each in a form that Postgres takes: a refused one would stop the relay."""
    event = rejection.parcel.event
    headers = event.headers.text if isinstance(event.headers, Headers) else json.dumps(event.headers)
    if isinstance(event.headers, Defective):
        headers = _as_json(headers)
    row = asdict(event) | {"headers": headers, "reason": rejection.reason, "detail": rejection.detail}
    return {name: _storable(value) for name, value in row.items()}


def _as_json(text: str) -> str:
    """Return `text`, or a JSON string of it if it is no JSON, or nests so deep that Postgres may not read it."""
    try:
        _JSON.decode(text)
    except (ValueError, RecursionError):
        return json.dumps(text)
    return text


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
