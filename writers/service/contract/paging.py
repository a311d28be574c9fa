"""Pages by position, not by number: a page stays the same while rows are inserted before it. Pure."""

import base64
import struct
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from writers.service.contract.problems import Answered

_FORM = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Position(NamedTuple):
    """The last row of a page: the next page begins after it."""

    created_at: datetime
    id: UUID


def encode(position: Position) -> str:
    """Return `position` as an opaque cursor, which a URL needs no escapes for."""
    raw = _FORM.pack((position.created_at - _EPOCH) // _MICROSECOND, position.id.bytes)
    return base64.urlsafe_b64encode(raw).decode()


def decode(cursor: str) -> Position:
    """Return the position of `cursor`; raises Answered for anything that `encode` has not made."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        microseconds, task_id = _FORM.unpack(raw)
        position = Position(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=task_id))
    except (ValueError, struct.error, OverflowError) as error:
        raise _bad() from error
    if encode(position) != cursor:  # base64 has more than one text for the same bytes
        raise _bad()
    return position


def _bad() -> Answered:
    return Answered(
        HTTPStatus.BAD_REQUEST,
        "bad-cursor",
        "cursor is not one of this service: begin with the first page, and follow its Link",
    )
