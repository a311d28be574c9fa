"""Parks events that cannot be published: in relay.parked, in the database that they came from.

What is parked is durable before the relay's position moves past it. Redriving and discarding are an operator's
commands and stand in `parked.py`.
"""

import json
from collections.abc import Sequence
from typing import Any

from msgspec.structs import asdict

from relay.core.event import Headers
from relay.core.ports import Rejection
from relay.core.position import Lsn
from relay.storage.checkpoint import CheckpointStore


class PostgresParking:
    """Stores rejected events through the relay's own connection."""

    def __init__(self, store: CheckpointStore, *, relay: str) -> None:
        self._store = store
        self._relay = relay

    async def park(self, rejections: Sequence[Rejection], *, after: Lsn | None) -> None:
        """Store `rejections` in one transaction; raises SourceUnavailable if that is not possible now."""
        await self._store.park([_row(rejection) for rejection in rejections], relay=self._relay, after=after)


def _row(rejection: Rejection) -> dict[str, Any]:
    """Return the columns of an event, each such that Postgres takes it: one that it refused would stop the relay."""
    event = rejection.parcel.event
    headers = event.headers.text if isinstance(event.headers, Headers) else json.dumps(event.headers)
    row = asdict(event) | {"headers": headers, "reason": rejection.reason, "detail": rejection.detail}
    return {name: _storable(value) for name, value in row.items()}


def _storable(value: object) -> object:
    match value:
        case str():  # text holds no zero byte: https://www.postgresql.org/docs/current/datatype-character.html
            return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        case int():  # a foreign table's numbers may be numeric
            return max(-(2**63), min(value, 2**63 - 1))
        case _:
            return value
