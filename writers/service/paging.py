"""Pages by position, not by number: a page stays the same while rows are inserted before it. Pure."""

import base64
import binascii
import json
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from writers.service.problems import Answered


class Position(NamedTuple):
    """The last row of a page: the next page begins after it."""

    created_at: datetime
    id: UUID


def encode(position: Position) -> str:
    """Return `position` as an opaque cursor, which a URL needs no escapes for."""
    text = json.dumps([position.created_at.isoformat(), str(position.id)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode(cursor: str) -> Position:
    """Return the position of `cursor`; raises Answered for anything that `encode` has not made."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, task_id = json.loads(raw)
        position = Position(datetime.fromisoformat(created_at), UUID(task_id))
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise _bad(cursor) from error
    if position.created_at.tzinfo is None or encode(position) != cursor:
        raise _bad(cursor)
    return position


def _bad(cursor: str) -> Answered:
    return Answered(
        HTTPStatus.BAD_REQUEST,
        "bad-cursor",
        f"cursor {cursor[:80]!r} is not one of this service: begin with the first page, and follow its Link",
    )
