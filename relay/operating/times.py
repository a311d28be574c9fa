"""Times as an operator writes them. Pure."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated

import typer

from outboxkit.errors import ConfigurationProblem

_AGO = re.compile(r"([0-9]{1,6}) *(s|min|m|h|d)(?: ago)?")
_LONG = re.compile(r"([1-9][0-9]{0,6})(s|min|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?")
_REMEDY = "write 14:10, 2026-11-27T14:10, 2026-11-27T14:10:30+01:00, or how long ago it was: 90s, 10min, 1h, 7d"

Since = Annotated[
    str,
    typer.Option("--since", metavar="TIME", help="A time such as 14:10 or 2026-11-27T14:10Z, or 1h for an hour ago."),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="A time in the same forms. Without it: now.")
]


def moment(text: str, now: datetime, *, option: str | None = None) -> datetime:
    """Return the time that `text` names, in UTC: a date and time, a time of the last 24 hours, or how long ago it was.

    A time without a zone is of the zone of `now`; "UTC" and "Z" behind it are zones. Raises ConfigurationProblem,
    naming `option`, for anything else, and for the future.
    """
    found, named = _moment(text.strip(), now), repr(text) if option is None else f"{option} {text!r}"
    if found is None:
        raise ConfigurationProblem(f"{named} is not a time", remedy=_REMEDY)
    if found > now:
        raise ConfigurationProblem(f"{named} lies in the future: it is {now:%Y-%m-%d %H:%M:%S %Z} now", remedy=_REMEDY)
    return found.astimezone(UTC)


def duration(text: str, *, option: str) -> timedelta:
    """Return the duration that `text` names, such as 90s, 1m or 2h; raises ConfigurationProblem, naming `option`."""
    found = _LONG.fullmatch(text.strip())
    if found is None:
        raise ConfigurationProblem(
            f"{option} {text!r} is not a duration", remedy="write a number and its unit: 90s, 1m, 2h or 7d"
        )
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def here() -> datetime:
    """Return the present time in this machine's zone."""
    return datetime.now(UTC).astimezone()


def shown(at: datetime) -> str:
    """Return a time as commands print it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _moment(text: str, now: datetime) -> datetime | None:
    for utc in (" UTC", "Z"):  # commands print times with the first
        if text.endswith(utc):
            text, now = text.removesuffix(utc), now.astimezone(UTC)
    try:
        if (ago := _AGO.fullmatch(text)) is not None:
            return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        if _CLOCK.fullmatch(text) is not None:
            at = datetime.fromisoformat(f"{now:%Y-%m-%d}T{text:0>{len('00:00') + 3 * (text.count(':') - 1)}}")
            at = _in(at, now.tzinfo)
            return at if at <= now else at - timedelta(days=1)
        return _in(datetime.fromisoformat(text), now.tzinfo)
    except (ValueError, OverflowError):
        return None


def _in(at: datetime, zone: tzinfo | None) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)
