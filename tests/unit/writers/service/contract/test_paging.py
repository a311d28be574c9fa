"""Cursors: each position has exactly one, and anything else is refused."""

import base64
import contextlib
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writers.service.contract.paging import Position, decode, encode
from writers.service.contract.problems import Answered

MOMENTS = st.datetimes(timezones=st.just(UTC))
POSITION = Position(datetime(2026, 7, 1, 12, 30, 0, 123456, tzinfo=UTC), UUID(int=7))


@given(MOMENTS, st.uuids())
def test_a_cursor_is_read_back_to_the_microsecond(created_at: datetime, task_id: UUID) -> None:
    position = Position(created_at, task_id)
    assert decode(encode(position)) == position


def test_the_session_s_time_zone_makes_no_other_cursor() -> None:
    elsewhere = POSITION.created_at.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert encode(Position(elsewhere, POSITION.id)) == encode(POSITION)


@given(MOMENTS, st.uuids())
def test_a_cursor_needs_no_escapes_in_a_url(created_at: datetime, task_id: UUID) -> None:
    text = encode(Position(created_at, task_id))
    assert text.replace("-", "").replace("_", "").isalnum()
    assert text.isascii()


@given(st.text(max_size=64) | st.binary(max_size=40).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_refused_or_is_the_cursor_of_its_position(text: str) -> None:
    position = None
    with contextlib.suppress(Answered):
        position = decode(text)
    assert position is None or encode(position) == text


@pytest.mark.parametrize(
    "changed",
    [
        encode(POSITION)[:-1],
        encode(POSITION) + "=",
        encode(POSITION) + encode(POSITION),
        " " + encode(POSITION),
        base64.urlsafe_b64encode(b"\x7f" + bytes(23)).decode(),
        base64.urlsafe_b64encode(b"\x80" + bytes(23)).decode(),
    ],
    ids=["cut", "padded", "twice", "with a space", "after the year 9999", "before the year 1"],
)
def test_what_is_almost_a_cursor_is_refused(changed: str) -> None:
    with pytest.raises(Answered, match="cursor is not one of this service") as refused:
        decode(changed)
    assert (refused.value.status_code, refused.value.slug) == (400, "bad-cursor")
