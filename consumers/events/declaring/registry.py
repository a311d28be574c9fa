"""The registry of event handlers, by name. It runs none of them.

    @on("order.*")
    def count_orders(event, connection): ...

    @on("order.*", by="version", name="orders")
    async def keep_orders(event, connection): ...

A handler is called in a transaction, with psycopg's `Connection`, or `AsyncConnection` if it is async. What it writes
is committed together with the claim, or not at all. The claim is one of:

* `by="message"`: the message's id, in `inbox.message`. A message that comes again is a duplicate, and is skipped.
* `by="version"`: the aggregate's version, in `inbox.position`. The next version is applied, an older one is stale, and
  one that comes too early waits for those before it.

The claim is under the handler's name. It is the function's name, unless `name=` gives another: who renames a function
keeps its name here, or the handler begins anew.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from consumers.errors import HandlersUnusable
from consumers.events.declaring import patterns as topics

By = Literal["message", "version"]
F = TypeVar("F", bound=Callable[..., Any])
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler; with `by` version, an aggregate that it does not know begins at `starts_at`, or anywhere if None."""

    name: str
    patterns: tuple[str, ...]
    function: Callable[..., Any]
    by: By = "message"
    starts_at: int | None = 1

    @property
    def is_async(self) -> bool:
        """Whether it runs on the loop, and not in a thread."""
        return inspect.iscoroutinefunction(self.function)

    def takes(self, routing_key: str) -> bool:
        """Return whether it takes events with this routing key."""
        return any(topics.matches(pattern, routing_key) for pattern in self.patterns)


class EventHandlers:
    """Handlers by name."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def on(
        self, *patterns: str, by: By = "message", name: str | None = None, starts_at: int | None = 1
    ) -> Callable[[F], F]:
        """Call the decorated function for events whose routing key matches one of `patterns`.

        It takes the event and a connection in a transaction; what it returns is ignored. `starts_at` is for `by`
        version: which version of an aggregate is its first, or None to begin at whichever comes first. Raises
        HandlersUnusable.
        """

        def register(function: F) -> F:
            self._add(Handler(name or function.__name__, patterns, function, by, starts_at))
            return function

        return register

    def __iter__(self) -> Iterator[Handler]:
        """Yield the handlers in the order in which they were declared."""
        return iter(self._handlers.values())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._handlers)

    def _add(self, handler: Handler) -> None:
        name = handler.name
        if not 0 < len(name) <= _LONGEST_NAME or "\x00" in name:
            raise HandlersUnusable(f"{name!r} is no name of a handler", remedy=f"write 1 to {_LONGEST_NAME} characters")
        if name in self._handlers:
            raise HandlersUnusable(
                f"two event handlers are called {name!r}", remedy="give one of them another: @on(..., name=...)"
            )
        if not handler.patterns:
            raise HandlersUnusable(
                f"event handler {name!r} has no pattern", remedy='write which events it takes: @on("order.*")'
            )
        for pattern in handler.patterns:
            try:
                topics.check(pattern)
            except ValueError as error:
                raise HandlersUnusable(
                    f"event handler {name!r}: {error}",
                    remedy="write words with dots between them, such as order.paid, order.* (one word) or order.#",
                ) from error
        if handler.by not in {"message", "version"}:
            raise HandlersUnusable(
                f"event handler {name!r}: by is {handler.by!r}", remedy='write by="message" or by="version"'
            )
        if handler.starts_at is not None and handler.starts_at < 1:
            raise HandlersUnusable(
                f"event handler {name!r}: starts_at is {handler.starts_at}", remedy="write a version from 1 on, or None"
            )
        try:
            inspect.signature(handler.function).bind(None, None)
        except (TypeError, ValueError) as error:
            raise HandlersUnusable(
                f"event handler {name!r} does not take an event and a connection",
                remedy="write def handle(event, connection)",
            ) from error
        self._handlers[name] = handler


event_handlers = EventHandlers()
on = event_handlers.on
