"""What is read as JSON: what every reader of it can read, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writers.service.contract.json_text import MOST_DEEP, require_readable
from writers.service.contract.problems import Answered

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(LEAVES, lambda below: st.lists(below) | st.dictionaries(TEXTS, below), max_leaves=20)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@given(VALUES)
def test_json_is_taken(value: object) -> None:
    require_readable(json.dumps(value).encode())


@pytest.mark.parametrize(
    "text",
    [
        nested(MOST_DEEP),
        b"1.7976931348623157e308",
        b"0.1e-400",
        b"1" * 4300,
        b'{"text": "1e999"}',
        b'"' + b"7" * 400 + b'"',
        '"ä \U0001f600"'.encode(),
        rb'"\ud83d\ude00"',
        rb'"\\u0000"',
    ],
    ids=[
        "deep",
        "large",
        "small",
        "4300 digits",
        "exponent in a text",
        "digits in a text",
        "UTF-8",
        "pair",
        "no escape",
    ],
)
def test_what_can_be_read_everywhere_is_taken(text: bytes) -> None:
    require_readable(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b"{} {}", "trailing characters"),
        (b"[1,]", "trailing comma"),
        (b"NaN", "expected value"),
        (b"[-Infinity]", ""),
        (nested(MOST_DEEP + 2), f"nest deeper than {MOST_DEEP}"),
        (nested(100_000), f"nest deeper than {MOST_DEEP}"),
        (b"1e309", "a number is too large"),
        (b'{"a": [-1E+000400]}', "a number is too large"),
        (b"1" * 400 + b".5", "a number is too large"),
        (b"1" * 4301, "out of range"),
        (rb'["\u0000"]', "which Postgres cannot store"),
        (rb'{"a": {"\u0000": 1}}', "which Postgres cannot store"),
        (rb'"\ud800"', ""),
        (rb'"\udc00\ud800"', ""),
        (b'"\xed\xa0\x80"', ""),
        (b'"\xff"', ""),
        ("{}".encode("utf-16"), ""),
        (b"\xef\xbb\xbf{}", ""),
    ],
)
def test_what_a_reader_could_stumble_over_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(Answered, match="it is no JSON that can be read everywhere") as refused:
        require_readable(text)
    assert (refused.value.status_code, refused.value.slug) == (422, "invalid")
    assert reason in refused.value.detail
