"""Patterns against another reading of the same rule: every way to give words to the pattern's parts."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.events.declaring.patterns import check, matches

WORDS = st.sampled_from(["order", "paid", "", "x"])
PARTS = st.sampled_from(["order", "paid", "x", "*", "#"])


def by_hand(parts: list[str], words: list[str]) -> bool:
    """Return whether the parts can be laid over the words."""
    if not parts:
        return not words
    first, *rest = parts
    if first == "#":
        return any(by_hand(rest, words[taken:]) for taken in range(len(words) + 1))
    return bool(words) and first in {"*", words[0]} and by_hand(rest, words[1:])


@given(st.lists(PARTS, min_size=1, max_size=5), st.lists(WORDS, max_size=6))
@example(["#"], [])
@example(["*"], [])
@example(["order", "#"], ["order"])
@example(["#", "#"], ["order", "paid"])
@example(["#", "paid", "#"], ["order", "paid", "x"])
def test_a_pattern_matches_what_its_parts_can_be_laid_over(parts: list[str], words: list[str]) -> None:
    key = ".".join(words)
    assert matches(".".join(parts), key) == by_hand(parts, key.split(".") if key else [])


@pytest.mark.parametrize("pattern", ["order.paid", "order.*", "#", "*.paid", "a.#.b", "ö.*", "x" * 255])
def test_patterns_that_are_allowed(pattern: str) -> None:
    check(pattern)


@pytest.mark.parametrize("pattern", ["", "ord*", "order.#x", "order..paid", ".order", "order.", "x" * 256, "ö" * 128])
def test_patterns_that_rabbitmq_refuses_or_reads_otherwise_than_they_look(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is no pattern|word"):
        check(pattern)
