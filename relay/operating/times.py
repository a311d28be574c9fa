"""Times as users write them: `14:10`, `2026-11-27 14:10`, with a zone or without, or `1h` for an hour ago. Pure."""

import re
from datetime import datetime, timedelta

from outboxkit.errors import ConfigurationProblem

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_AGO = re.compile(r"([1-9]\d{0,6})(s|min|m|h|d)")
_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}


def moment(text: str, now: datetime, *, option: str) -> datetime:
    """Return the time that `text` names, seen from `now`, whose zone counts where it has none.

    A time without a date is the last one that has passed. Raises ConfigurationProblem, naming `option`.
    """
    text = text.strip()
    if (clock := _CLOCK.fullmatch(text)) is not None:
        hour, minute, second = (int(part or 0) for part in clock.groups())
        at = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
        return at if at <= now else at - timedelta(days=1)
    if (ago := _AGO.fullmatch(text)) is not None:
        return now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationProblem(
            f"{option}: {text!r} is not a time",
            remedy="write 14:10, '2026-11-27 14:10:00', 2026-11-27T14:10:00+01:00, or 1h for an hour ago",
        ) from error
    return at if at.tzinfo is not None else at.replace(tzinfo=now.tzinfo)


def duration(text: str, *, option: str) -> timedelta:
    """Return the duration that `text` names, such as 90s, 1m or 2h; raises ConfigurationProblem, naming `option`."""
    found = _AGO.fullmatch(text.strip())
    if found is None:
        raise ConfigurationProblem(
            f"{option}: {text!r} is not a duration", remedy="write a number and its unit: 90s, 1m, 2h or 7d"
        )
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
