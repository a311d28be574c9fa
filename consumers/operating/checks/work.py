"""Checks of what is to be done, and by whom: handlers, tasks that wait, scheduled jobs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from consumers.handlers import registry
from consumers.maintenance.declaring.planning import plan
from consumers.maintenance.declaring.registry import jobs
from consumers.settings import ConsumerSettings
from outboxkit.checks.finding import Unknown, Verdict, fail, ok, unknown, warn
from outboxkit.errors import Problem

_QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many tasks of each type wait for a handler."""

    types: Mapping[str, int]


def load(settings: ConsumerSettings) -> Collection[str] | Unknown:
    """Import the module of handlers, as `consumers run` does, and return the types that it registers."""
    if settings.handlers is None:
        return Unknown(
            "CONSUMERS_HANDLERS is not set",
            "name the Python module that registers your handlers, such as consumers.examples",
        )
    try:
        found = registry.load(settings.handlers)
        for job in jobs:
            plan(job, settings)
    except Problem as problem:
        return Unknown(problem.what, problem.remedy)
    return found.types


def handlers(types: Collection[str] | Unknown) -> Verdict:
    """Judge whether the module of handlers can be used."""
    if isinstance(types, Unknown):
        return fail(types.reason, remedy=types.remedy)
    return ok(f"handlers for {', '.join(sorted(types))}", types=sorted(types))


def unhandled(waiting: Waiting | Unknown, types: Collection[str] | Unknown) -> Verdict:
    """Judge whether every task that waits has a handler here."""
    if isinstance(waiting, Unknown):
        return unknown(f"unknown: {waiting.reason}", remedy=waiting.remedy)
    if isinstance(types, Unknown):
        return unknown("unknown: the module of handlers cannot be used", remedy="see tasks.handlers")
    without = {type_: count for type_, count in waiting.types.items() if type_ not in types}
    if without:
        named = ", ".join(f"{count} of type {type_!r}" for type_, count in without.items())
        return warn(
            f"no handler is registered here for {named}: a consumer that gets one fails it",
            remedy="register handlers for them in CONSUMERS_HANDLERS, or cancel them with SELECT tasks.cancel(id)",
            without=without,
        )
    return ok(f"every type that waits has a handler ({sum(waiting.types.values())} tasks)", without={})


def scheduler(seconds: float | Unknown | None, settings: ConsumerSettings) -> Verdict:
    """Judge whether some consumer runs the project's jobs: without them no task becomes due, no lease is released."""
    start = "start `consumers run` with CONSUMERS_SCHEDULER=lock or leader, in at least one place"
    if isinstance(seconds, Unknown):
        return unknown(f"unknown: {seconds.reason}", remedy=seconds.remedy)
    if seconds is None:
        return warn("no consumer has run the scheduled jobs yet", remedy=start, seconds=None)
    if seconds > max(_QUIET_SECONDS, 5 * settings.enqueue_every):
        return warn(f"no consumer has begun a scheduled job for {seconds:.0f} s", remedy=start, seconds=seconds)
    return ok(f"a consumer began a scheduled job {seconds:.1f} s ago", seconds=seconds)
