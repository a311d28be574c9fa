"""Which JSON text nests too deep to be read."""

import json

import pytest

from relay.core.event import Defective
from relay.core.messages import headers
from relay.core.messages.nesting import MOST_DEEP, too_deep


def nested(levels: int) -> str:
    return '{"a":[' * (levels // 2) + "[" * (levels % 2) + "1" + "]" * (levels % 2) + "]}" * (levels // 2)


@pytest.mark.parametrize("levels", [MOST_DEEP - 1, MOST_DEEP, MOST_DEEP + 1, MOST_DEEP + 2, 1000, 10_001])
def test_text_is_too_deep_from_one_depth_on(levels: int) -> None:
    assert too_deep(nested(levels)) == (levels > MOST_DEEP)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"a": [{", ".join(["[[], {}]"] * 1000)}]}}',
        json.dumps({"a": "[{" * 1000}),
        json.dumps({"a": '\\"[\\' * 1000, "[" * 1000: "\n\\"}),
        '"' + "[" * 1000,
        '"' + '\\"[' * 1000,
        '"' + "[" * 1000 + "\\",
        "]" * 1000 + "[" * 1000,
        "",
    ],
)
def test_many_that_are_beside_one_another_or_in_a_string_are_not_deep(text: str) -> None:
    assert not too_deep(text)


def test_what_is_no_json_is_deep_all_the_same() -> None:
    assert too_deep("[" * 1000)
    assert too_deep('["' + "x" * 1000 + '", ' + "[" * 1000)


@pytest.mark.parametrize("levels", [MOST_DEEP, MOST_DEEP + 1, 1000, 5000, 100_000])
def test_headers_are_read_to_that_depth_by_every_python(levels: int) -> None:
    text = '{"a":' * levels + "1" + "}" * levels
    found = headers.read(text)
    assert isinstance(found, Defective) == (levels > MOST_DEEP)
    assert getattr(found, "text", None) == text
