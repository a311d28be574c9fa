"""What the module of handlers registers, for the other checks. It is imported as `consumers run` does; none is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from consumers.events.declaring.registry import event_handlers
from consumers.handlers.declaring import registry
from consumers.maintenance.declaring.planning import plan
from consumers.maintenance.declaring.registry import jobs
from consumers.settings import ConsumerSettings
from outboxkit.checks.finding import Unknown
from outboxkit.errors import Problem


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which kinds of handlers there are."""

    threads: bool
    """Handlers of tasks that run in a thread."""
    loop: bool
    """Handlers of tasks that run on the loop."""
    event_threads: bool
    event_loop: bool

    @property
    def tasks(self) -> bool:
        """Whether tasks are taken."""
        return self.threads or self.loop

    @property
    def events(self) -> bool:
        """Whether events are taken."""
        return self.event_threads or self.event_loop

    @classmethod
    def expected(cls, settings: ConsumerSettings) -> Self:
        """Return what a module that cannot be imported may have."""
        events = settings.events_queue is not None
        return cls(threads=True, loop=True, event_threads=events, event_loop=events)


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the module registers."""

    types: Sequence[str]
    """The types of tasks."""
    events: Sequence[str]
    """The names of handlers of events."""
    kinds: Kinds


def load(settings: ConsumerSettings) -> Handlers | Unknown:
    """Import the module of handlers, and return what it registers."""
    if settings.handlers is None:
        return Unknown(
            "CONSUMERS_HANDLERS is not set",
            "name the Python module that registers your handlers, such as consumers.examples",
        )
    try:
        found = registry.load(settings.handlers, others=lambda: len(event_handlers) > 0)
        for job in jobs:
            plan(job, settings)
    except Problem as problem:
        return Unknown(problem.what, problem.remedy)
    asynchronous = {handler.is_async for handler in map(found.find, found.types) if handler is not None}
    of_events = {handler.is_async for handler in event_handlers}
    return Handlers(
        sorted(found.types),
        sorted(handler.name for handler in event_handlers),
        Kinds(
            threads=False in asynchronous, loop=True in asynchronous,
            event_threads=False in of_events, event_loop=True in of_events,
        ),
    )  # fmt: skip


def kinds(found: Handlers | Unknown, settings: ConsumerSettings) -> Kinds:
    """Return the kinds of handlers; what is to be expected, if the module is unknown."""
    return Kinds.expected(settings) if isinstance(found, Unknown) else found.kinds
