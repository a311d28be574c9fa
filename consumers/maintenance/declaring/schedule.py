"""When a job runs next: every so many seconds, or by a cron expression. Pure: times are passed in.

All times are the database's, or lengths of time. The frequency of a job is the time between two of its runs: its lock
is held for a multiple of it, so the lock follows the schedule.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_LIKE = 'write five fields such as "0 3 * * *": minute, hour, day of the month, month, day of the week'


@dataclass(frozen=True, slots=True)
class Every:
    """A job that runs every `frequency` seconds."""

    frequency: float


@dataclass(frozen=True, slots=True)
class Cron:
    """A job that runs at the times of a cron expression, as a clock on the wall in `zone` shows them.

    Where the clock is put forward or back, a job of a certain hour runs once, as cron does it on Debian.
    """

    expression: str
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        try:
            self.after(datetime(2024, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"{self.expression!r} is no cron expression ({error}): {_LIKE}") from error
        except StopIteration as error:
            raise ValueError(f"{self.expression!r} names a day that never comes: {_LIKE}") from error

    def after(self, time: datetime) -> datetime:
        """Return the first time of the job after `time`.

        It is in UTC: Python subtracts times of one zone as the clocks there show them.
        """
        return next(CronSim(self.expression, time.astimezone(self.zone))).astimezone(UTC)

    def frequency(self, due: datetime) -> float:
        """Return the seconds from `due`, a time of the job, to its next one."""
        return (self.after(due) - due).total_seconds()


Schedule = Every | Cron


def time_zone(name: str) -> tzinfo:
    """Return the time zone `name`; raises ValueError. UTC is known where the system has no time zones."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone of this system") from error


def until_next(frequency: float, elapsed: float, *, held_until: float | None = None) -> float:
    """Return after how many seconds a job is tried again that began `elapsed` seconds ago, here or in another process.

    That is a whole number of `frequency` after it began. A holder that runs over may have died: it is also tried when
    its lock ends, `held_until` seconds after it began.
    """
    elapsed = max(elapsed, 0.0)  # the database's clock was put back
    wait = frequency - elapsed % frequency
    if held_until is not None and max(frequency, elapsed) < held_until:
        wait = min(wait, held_until - elapsed)
    return wait
