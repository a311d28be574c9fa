"""Times as an operator writes them: `14:10`, `2026-11-27T14:10Z`, `90min`. Pure.

A time without a zone is one of this machine's zone. A time of day that has not come yet is yesterday's. A
duration is how long ago.
"""

import re
from datetime import UTC, datetime, time, timedelta

from outboxkit.errors import ConfigurationProblem

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,7})(s|m|min|h|d)(?: ago)?")
_LOOKS = "write a time, such as 14:10 or 2026-11-27T14:10:00Z, or how long ago, such as 90min, 2h or 7d"


def moment(text: str, now: datetime, option: str) -> datetime:
    """Return the time that `text` means; `now` has a zone. Raises ConfigurationProblem for what is no time."""
    text = text.strip()
    if text == "now":
        return now.astimezone(UTC)
    if found := _DURATION.fullmatch(text):
        return (now - _duration(found)).astimezone(UTC)
    try:
        at = _time(text, now)
    except ValueError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise ConfigurationProblem(f"{option} {text!r} is not a time", remedy=_LOOKS) from error
    return at.astimezone(UTC)


def duration(text: str, option: str) -> timedelta:
    """Return the duration that `text` means, more than nothing; raises ConfigurationProblem."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or text.endswith("ago") or not _duration(found):
        raise ConfigurationProblem(
            f"{option} {text!r} is not a duration", remedy="write a number and s, m, h or d, such as 1m"
        )
    return _duration(found)


def _duration(found: re.Match[str]) -> timedelta:
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def _time(text: str, now: datetime) -> datetime:
    """Return the last time that a clock showed `text`."""
    shown = time.fromisoformat(text)
    zone = shown.tzinfo
    today = now.astimezone(zone)
    at = datetime.combine(today.date(), shown, zone or today.tzinfo)
    return at if at <= now else at - timedelta(days=1)
