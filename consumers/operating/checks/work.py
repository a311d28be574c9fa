"""Checks of what is to be done, and by whom: handlers, tasks that wait, scheduled jobs."""

from collections.abc import Mapping
from dataclasses import dataclass

from consumers.operating.checks.module import Handlers
from consumers.settings import ConsumerSettings
from outboxkit.checks.finding import Unknown, Verdict, fail, ok, unknown, warn

_QUIET_SECONDS = 60.0
_NO_MODULE = "unknown: the module of handlers cannot be used"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many tasks of each type wait for a handler."""

    types: Mapping[str, int]


def handlers(found: Handlers | Unknown) -> Verdict:
    """Judge whether the module of handlers can be used."""
    if isinstance(found, Unknown):
        return fail(found.reason, remedy=found.remedy)
    tasks = f"handlers for {', '.join(found.types)}" if found.types else "no handlers for tasks, so none are taken"
    return ok(tasks, types=list(found.types))


def events(found: Handlers | Unknown, settings: ConsumerSettings) -> Verdict:
    """Judge whether handlers of events have a queue, and a queue has handlers."""
    queue = settings.events_queue
    if isinstance(found, Unknown):
        return unknown(_NO_MODULE, remedy="see tasks.handlers")
    if not found.events and queue is None:
        return ok("no handlers of events", handlers=[])
    if queue is None:
        return fail(
            f"CONSUMERS_EVENTS_QUEUE is not set, and handlers of events are registered: {', '.join(found.events)}",
            remedy="set it to the name of a queue for this application alone, such as billing.events",
            handlers=list(found.events),
        )
    if not found.events:
        return warn(
            f"CONSUMERS_EVENTS_QUEUE is {queue!r}, and no handler of events is registered: they stay in the queue",
            remedy="decorate a function with @on in the module CONSUMERS_HANDLERS, or unset it",
            handlers=[],
        )
    return ok(f"handlers of events: {', '.join(found.events)}", handlers=list(found.events))


def unhandled(waiting: Waiting | Unknown, found: Handlers | Unknown) -> Verdict:
    """Judge whether every task that waits has a handler here."""
    if isinstance(waiting, Unknown):
        return unknown(f"unknown: {waiting.reason}", remedy=waiting.remedy)
    if isinstance(found, Unknown):
        return unknown(_NO_MODULE, remedy="see tasks.handlers")
    if not found.types:
        return ok("no tasks are taken here: they are for other consumers", without={})
    without = {type_: count for type_, count in waiting.types.items() if type_ not in found.types}
    if without:
        named = ", ".join(f"{count} of type {type_!r}" for type_, count in without.items())
        return warn(
            f"no handler is registered here for {named}: in a consumer that gets one it fails, is tried again, and is "
            "dead after its last attempt",
            remedy="register handlers for them in CONSUMERS_HANDLERS; or, as a member of outbox_operator, cancel them "
            "with SELECT tasks.cancel(id)",
            without=without,
        )
    return ok(f"every type that waits has a handler ({sum(waiting.types.values())} tasks)", without={})


def scheduler(seconds: float | Unknown | None, settings: ConsumerSettings, found: Handlers | Unknown) -> Verdict:
    """Judge whether some consumer runs the project's jobs: without them no task becomes due, no lease is released.

    Consumers of events alone run one job, which removes what is old from the inbox.
    """
    tasks = isinstance(found, Unknown) or found.types
    if not tasks and settings.inbox_retention is None:
        return ok("consumers of events alone need no job while CONSUMERS_INBOX_RETENTION is off", seconds=None)
    every = settings.enqueue_every if tasks else settings.prune_every
    start = "start `consumers run` with CONSUMERS_SCHEDULER=lock or leader, in at least one place"
    if isinstance(seconds, Unknown):
        return unknown(f"unknown: {seconds.reason}", remedy=seconds.remedy)
    if seconds is None:
        return warn("no consumer has run the scheduled jobs yet", remedy=start, seconds=None)
    if seconds > max(_QUIET_SECONDS, 5 * every):
        return warn(f"no consumer has begun a scheduled job for {seconds:.0f} s", remedy=start, seconds=seconds)
    return ok(f"a consumer began a scheduled job {seconds:.1f} s ago", seconds=seconds)
