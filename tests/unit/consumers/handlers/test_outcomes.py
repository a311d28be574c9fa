"""Results and errors of handlers as text that Postgres accepts, and how a claim ended, by its row."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.handlers.outcomes import (
    MAX_ERROR_CHARACTERS,
    MAX_RESULT_BYTES,
    Completed,
    Failed,
    Unfinished,
    describe,
    encode_result,
    ending,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - any JSON
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in _texts(item)]
        case dict():
            return [text for pair in value.items() for item in pair for text in _texts(item)]
        case _:
            return []


@given(values)
def test_a_result_is_read_back_unchanged_unless_jsonb_cannot_hold_it(value: Any) -> None:  # noqa: ANN401 - any JSON
    texts = _texts(value)
    if any("\x00" in text for text in texts):
        with pytest.raises(ValueError, match=r"U\+0000"):
            encode_result(value)
    else:
        encoded = encode_result(value)
        assert (None if encoded is None else json.loads(encoded)) == value


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "\\", "u0000", "\\x00"])
def test_text_that_only_looks_like_a_nul_is_kept(text: str) -> None:
    encoded = encode_result(text)
    assert encoded is not None
    assert json.loads(encoded) == text


@pytest.mark.parametrize("text", ["\x00", "\\\x00", "\\\\\x00", "a\x00b"])
def test_a_nul_is_refused_after_any_number_of_backslashes(text: str) -> None:
    with pytest.raises(ValueError, match=r"U\+0000"):
        encode_result({"key": [text]})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1, 2}, b"bytes", object()])
def test_a_result_that_is_not_json_is_refused(value: Any) -> None:  # noqa: ANN401 - no JSON
    with pytest.raises((ValueError, TypeError)):
        encode_result(value)


def test_a_result_is_limited_in_bytes() -> None:
    assert encode_result("x" * (MAX_RESULT_BYTES - 2)) is not None
    with pytest.raises(ValueError, match=f"at most {MAX_RESULT_BYTES}"):
        encode_result("x" * (MAX_RESULT_BYTES - 1))
    with pytest.raises(ValueError, match=f"at most {MAX_RESULT_BYTES}"):
        encode_result("\N{SNOWMAN}" * (MAX_RESULT_BYTES // 3))


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_an_error_is_described_in_text_that_postgres_accepts(message: str) -> None:
    text = describe(ValueError(message))
    assert text.startswith("ValueError")
    assert len(text) <= MAX_ERROR_CHARACTERS
    assert "\x00" not in text
    assert text.encode()


def test_an_error_that_cannot_describe_itself_is_named() -> None:
    class Mute(Exception):  # noqa: N818 - what it is
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(Mute()) == "Mute: (its message cannot be read)"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"


@pytest.mark.parametrize(
    ("status", "version", "expected"),
    [
        ("completed", 3, "completed"),
        ("failed", 3, "lost"),
        ("scheduled", 4, "lost"),
        ("dead", 4, "lost"),
        ("pending", 3, "lost"),
        ("running", 2, "lost"),
        ("running", 4, "lost"),
        ("completed", 5, "lost"),
        ("cancelling", 3, "lost"),
        ("cancelled", 3, "lost"),
        ("cancelled", 4, "cancelled"),
        (None, None, "lost"),
    ],
)
def test_only_the_next_version_says_how_a_claim_ended(status: str | None, version: int | None, expected: str) -> None:
    assert ending(Completed(None), 2, status, version) == expected


def test_a_claim_is_released_only_by_who_gave_it_back() -> None:
    """A lease that ran out leaves the same row."""
    assert ending(Unfinished("given back", started=True), 2, "pending", 3) == "released"
    assert ending(Failed("it raised"), 2, "pending", 3) == "lost"
    assert ending(Unfinished("no second lock", started=False, after=5.0), 2, "scheduled", 4) == "released"


def test_a_failed_attempt_is_made_again_later_or_was_the_last() -> None:
    assert ending(Failed("it raised", 5.0), 2, "scheduled", 4) == "failed"
    assert ending(Failed("it raised", 5.0), 2, "dead", 4) == "dead"
    assert ending(Unfinished("its connection broke", started=True), 2, "dead", 4) == "dead"
