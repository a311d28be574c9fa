"""Times as operators write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from outboxkit.errors import ConfigurationProblem
from relay.operating.times import duration, moment

ZONE = timezone(timedelta(hours=2), "CEST")
NOW = datetime(2026, 11, 27, 15, 30, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("14:10", datetime(2026, 11, 27, 12, 10, tzinfo=UTC)),
        ("14:10:05", datetime(2026, 11, 27, 12, 10, 5, tzinfo=UTC)),
        ("9:05", datetime(2026, 11, 27, 7, 5, tzinfo=UTC)),
        ("15:31", datetime(2026, 11, 26, 13, 31, tzinfo=UTC)),
        ("2026-11-27T14:10", datetime(2026, 11, 27, 12, 10, tzinfo=UTC)),
        ("2026-11-27 14:10", datetime(2026, 11, 27, 12, 10, tzinfo=UTC)),
        ("2026-11-27T12:10Z", datetime(2026, 11, 27, 12, 10, tzinfo=UTC)),
        ("2026-11-27 12:10:05 UTC", datetime(2026, 11, 27, 12, 10, 5, tzinfo=UTC)),
        ("12:10 UTC", datetime(2026, 11, 27, 12, 10, tzinfo=UTC)),
        ("12:10Z", datetime(2026, 11, 27, 12, 10, tzinfo=UTC)),
        ("13:31Z", datetime(2026, 11, 26, 13, 31, tzinfo=UTC)),
        ("2026-11-27T12:10:00.25+00:00", datetime(2026, 11, 27, 12, 10, 0, 250_000, tzinfo=UTC)),
        ("2026-11-27", datetime(2026, 11, 26, 22, 0, tzinfo=UTC)),
        ("90s", datetime(2026, 11, 27, 13, 28, 30, tzinfo=UTC)),
        ("10min", datetime(2026, 11, 27, 13, 20, tzinfo=UTC)),
        ("10m ago", datetime(2026, 11, 27, 13, 20, tzinfo=UTC)),
        (" 1h ", datetime(2026, 11, 27, 12, 30, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 20, 13, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_date_a_time_of_the_last_day_or_how_long_ago_it_was(text: str, means: datetime) -> None:
    assert moment(text, now=NOW) == means


@pytest.mark.parametrize(
    "text", ["", "now", "14:60", "25:00", "1410", "1 hour", "-1h", "999999d", "2026-13-01", "٣h", "UTC", "Z"]
)
def test_anything_else_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="is not a time") as refused:
        moment(text, now=NOW)
    assert "14:10" in refused.value.remedy


@pytest.mark.parametrize("text", ["2026-11-28", "2026-11-27T14:10Z", "9999-12-31T23:59"])
def test_the_future_is_refused_with_the_present_time(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="it is 2026-11-27 15:30:00 CEST now"):
        moment(text, now=NOW)


def test_an_error_names_its_option() -> None:
    with pytest.raises(ConfigurationProblem, match="--from-time 'nonsense'"):
        moment("nonsense", NOW, option="--from-time")


def test_a_duration_is_a_number_and_its_unit() -> None:
    assert [duration(text, option="--bucket") for text in ("90s", "2h")] == [timedelta(seconds=90), timedelta(hours=2)]
    for text in ("0s", "1", "h", "1h ago"):
        with pytest.raises(ConfigurationProblem, match="--bucket"):
            duration(text, option="--bucket")
