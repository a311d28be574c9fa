"""Makes of a declared job what the scheduler needs: its schedule, and for how long its lock is held.

A mistake in a declaration is a JobUnusable, which names the job and says what is allowed. What does not depend on
settings is checked where the job is declared.
"""

import re
from dataclasses import dataclass, replace

from consumers.durations import ALLOWED, Duration, seconds
from consumers.errors import JobUnusable
from consumers.maintenance.declaring import schedule
from consumers.maintenance.declaring.declaration import Job
from consumers.maintenance.declaring.schedule import Cron, Every, Schedule
from consumers.settings import ConsumerSettings
from outboxkit.settings import named, variable

_SHORTEST = 0.1
_MOST = 1000.0
_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_OR_A_NAME = f"{ALLOWED}, or the name of a setting or an environment variable that has one of these"


@dataclass(frozen=True, slots=True)
class Plan:
    """When a job runs, and the limits of its lock as multiples of the time between two runs."""

    schedule: Schedule
    at_most: float
    at_least: float
    initial_delay: float


def check(job: Job) -> None:
    """Raise JobUnusable for a mistake in the declaration. What it leaves to settings is not looked up."""
    try:
        _ = job.takes_context
    except (TypeError, ValueError) as error:
        raise JobUnusable(
            f"job {job.name!r} takes more than a context", remedy="write a function of one argument or none"
        ) from error
    if (job.every is None) == (job.cron is None):
        raise JobUnusable(f"job {job.name!r} needs one schedule", remedy="give it every= or cron=, and not both")
    if job.every is not None and job.time_zone is not None:
        raise JobUnusable(f"job {job.name!r} has a time zone and no cron=", remedy="leave out time_zone=")
    every = 1.0 if isinstance(job.every, str) and _NAME.fullmatch(job.every) else job.every
    _plan(replace(job, every=every), at_most=1.0, at_least=0.0, time_zone="UTC")


def plan(job: Job, settings: ConsumerSettings) -> Plan:
    """Return the plan of `job` under `settings`; raises JobUnusable."""
    if isinstance(job.every, str) and _NAME.fullmatch(job.every):
        job = replace(job, every=_looked_up(job, job.every, settings))
    return _plan(job, at_most=settings.job_at_most, at_least=settings.job_at_least, time_zone=settings.time_zone)


def _plan(job: Job, *, at_most: float, at_least: float, time_zone: str) -> Plan:
    most = at_most if job.at_most is None else job.at_most
    # A job that gives only the shorter of both times means it.
    least = min(at_least, most) if job.at_least is None else job.at_least
    if not (0 < most <= _MOST and 0 <= least <= min(most, 1)):
        raise JobUnusable(
            f"job {job.name!r}: its lock would be held for at most {most:g} and at least {least:g} times its interval",
            remedy=f"at_most is up to {_MOST:g}, and at_least from 0 to 1 and not more than at_most",
        )
    try:
        delay = seconds(job.initial_delay)
    except ValueError as error:
        raise JobUnusable(f"job {job.name!r}: initial_delay: {error}", remedy=ALLOWED) from error
    return Plan(_cron(job, time_zone) if job.every is None else Every(_frequency(job, job.every)), most, least, delay)


def _frequency(job: Job, every: Duration) -> float:
    try:
        frequency = seconds(every)
    except ValueError as error:
        raise JobUnusable(f"job {job.name!r}: every: {error}", remedy=_OR_A_NAME) from error
    if frequency < _SHORTEST:
        raise JobUnusable(f"job {job.name!r}: every: {every!r} is less than {_SHORTEST} s", remedy=_OR_A_NAME)
    return frequency


def _cron(job: Job, time_zone: str) -> Cron:
    try:
        zone = schedule.time_zone(job.time_zone or time_zone)
    except ValueError as error:
        raise JobUnusable(
            f"job {job.name!r}: {error}",
            remedy="write one such as UTC or Europe/Berlin; where the system has none, install the package tzdata",
        ) from error
    try:
        return Cron(job.cron or "", zone)
    except ValueError as error:
        what, _, remedy = str(error).partition(": ")
        raise JobUnusable(f"job {job.name!r}: cron: {what}", remedy=remedy) from error


def _looked_up(job: Job, name: str, settings: ConsumerSettings) -> Duration:
    """Return the value of the setting or variable `name`, after which `job` runs."""
    field = named(settings, name)
    value = getattr(settings, field) if field is not None else variable(name)
    if value is None:
        raise JobUnusable(
            f"job {job.name!r} runs every {name}, which is not set", remedy=f"set {name} to a duration such as 5m"
        )
    try:
        _frequency(job, value)
    except JobUnusable as problem:
        # The value is not shown: somebody may have named a secret.
        raise JobUnusable(
            f"job {job.name!r} runs every {name}, whose value is no duration of {_SHORTEST} s or more", remedy=ALLOWED
        ) from problem
    return value
