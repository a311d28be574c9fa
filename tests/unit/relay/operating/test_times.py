"""Times as users write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from outboxkit.errors import ConfigurationProblem
from relay.operating.times import moment

NOW = datetime(2026, 11, 27, 14, 30, 15, 123, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("14:10", "2026-11-27 14:10:00+01:00"),
        ("14:30:15", "2026-11-27 14:30:15+01:00"),
        ("14:31", "2026-11-26 14:31:00+01:00"),
        ("2026-11-20 08:00", "2026-11-20 08:00:00+01:00"),
        ("2026-11-20T08:00:00Z", "2026-11-20 08:00:00+00:00"),
        ("90s", "2026-11-27 14:28:45.000123+01:00"),
        ("2h", "2026-11-27 12:30:15.000123+01:00"),
        ("7d", "2026-11-20 14:30:15.000123+01:00"),
    ],
)
def test_a_time_is_read_as_it_is_meant(text: str, meant: str) -> None:
    assert moment(text, NOW, option="--from-time") == datetime.fromisoformat(meant)


@pytest.mark.parametrize("text", ["", "ten past two", "25:00", "14:60", "0h", "-1h"])
def test_anything_else_is_a_usage_error_that_names_the_option(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="--from-time"):
        moment(text, NOW.astimezone(UTC), option="--from-time")
