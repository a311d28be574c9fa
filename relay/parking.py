"""Parks events that cannot be published: in relay.parked, in the database that they came from.

What is parked is durable before the relay's position moves past it. Redriving and discarding are an operator's
commands and stand in `parked.py`.
"""

import json
from collections.abc import Sequence
from typing import Any

from msgspec.structs import asdict

from relay.checkpoint import CheckpointStore
from relay.ports import Rejection
from relay.position import Lsn


class PostgresParking:
    """Stores rejected events through the relay's own connection."""

    def __init__(self, store: CheckpointStore, *, relay: str) -> None:
        self._store = store
        self._relay = relay

    async def park(self, rejections: Sequence[Rejection], *, after: Lsn | None) -> None:
        """Store `rejections` in one transaction; raises SourceUnavailable if that is not possible now."""
        await self._store.park([_row(rejection) for rejection in rejections], relay=self._relay, after=after)


def _row(rejection: Rejection) -> dict[str, Any]:
    event = rejection.parcel.event
    return asdict(event) | {
        "headers": json.dumps(dict(event.headers), ensure_ascii=False),
        "reason": rejection.reason,
        "detail": rejection.detail,
    }
