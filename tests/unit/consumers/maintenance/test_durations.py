"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.durations import LONGEST, seconds, text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90", 90),
        ("90 s", 90),
        ("5m", 300),
        ("5min", 300),
        ("1h30m", 5400),
        (" 1 h  30 m ", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("1s500ms", 1.5),
        ("7d", 604_800),
        ("1w1d", 691_200),
        ("0", 0),
        (90, 90),
        (0.5, 0.5),
        (timedelta(minutes=5), 300),
    ],
)
def test_a_number_is_seconds_and_text_has_units(written: float | str | timedelta, meant: float) -> None:
    assert seconds(written) == pytest.approx(meant)


@pytest.mark.parametrize(
    "written",
    [
        *(
            "",
            " ",
            "m",
            "5 parsecs",
            "-5m",
            "5m-",
            "1m1h",
            "1m 1m",
            "1m1min",
            "1 h 30",
            "1,5h",
            "1e3",
            "nan",
            "5M",
            "53w",
        ),
        *(-1, float("nan"), float("inf"), True, None, [1], timedelta(seconds=-1), 367 * 86_400),
    ],
)
def test_anything_else_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"is no duration|has a unit twice"):
        seconds(written)  # type: ignore[arg-type]


_UNITS = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


@given(
    st.lists(st.sampled_from(range(len(_UNITS))), unique=True, min_size=1).map(sorted),
    st.lists(st.integers(0, 50), min_size=6, max_size=6),
    st.sampled_from(["", " "]),
)
def test_the_parts_of_a_duration_add_up(units: list[int], counts: list[int], space: str) -> None:
    parts = [(counts[unit], *_UNITS[unit]) for unit in units]
    total = sum(count * size for count, _, size in parts) / 1000
    written = space.join(f"{count}{space}{name}" for count, name, _ in parts)
    if total <= LONGEST:
        assert seconds(written) == pytest.approx(total)
    else:
        with pytest.raises(ValueError, match="is no duration between 0 and 366 days"):
            seconds(written)


@given(st.integers(0, int(LONGEST) * 1000))
def test_what_is_printed_is_read_back(milliseconds: int) -> None:
    assert seconds(text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
