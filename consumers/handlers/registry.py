"""The registry of users' handlers, by task type. It runs none of them.

There are two kinds of handlers, with different guarantees:

* `@task("type")` on `def handle(task)`: the completion is written after the handler returns, together with many
  others. If the process dies before that, the task runs again: **at least once**.
* `@task("type", in_transaction=True)` on `def handle(task, connection)`: `connection` is in a transaction that also
  writes the completion, under a version check. If the claim was lost meanwhile (the task was cancelled, or the lease
  expired), everything is rolled back. Effects in the same database are committed if and only if the task completes:
  **effectively once**.

A handler runs in a thread. Its return value is stored as JSON as the task's result; an exception is stored as the
task's last error.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, overload

import psycopg

from consumers.errors import HandlersUnusable
from consumers.handlers.task import JSON, Task
from outboxkit.errors import Problem

Plain: TypeAlias = Callable[[Task], JSON]
InTransaction: TypeAlias = Callable[[Task, "psycopg.Connection[Any]"], JSON]
P = TypeVar("P", bound=Plain)
T = TypeVar("T", bound=InTransaction)


@dataclass(frozen=True, slots=True)
class PlainHandler:
    """Its task is completed after it returns."""

    call: Plain


@dataclass(frozen=True, slots=True)
class TransactionHandler:
    """Its effects are in the transaction that completes the task."""

    call: InTransaction


Handler: TypeAlias = PlainHandler | TransactionHandler


class Registry:
    """Handlers by task type."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    @overload
    def task(self, type_: str, *, in_transaction: Literal[False] = False) -> Callable[[P], P]: ...

    @overload
    def task(self, type_: str, *, in_transaction: Literal[True]) -> Callable[[T], T]: ...

    def task(self, type_: str, *, in_transaction: bool = False) -> Callable[[Any], Any]:
        """Register the decorated function for tasks of `type_`.

        Raises ValueError if `type_` is registered already, and TypeError for a coroutine function.
        """

        def register(function: Callable[..., JSON]) -> Callable[..., JSON]:
            if inspect.iscoroutinefunction(function):
                raise TypeError(f"the handler of {type_!r} is a coroutine function; handlers run in threads: write def")
            if type_ in self._handlers:
                raise ValueError(f"two handlers are registered for tasks of type {type_!r}")
            self._handlers[type_] = TransactionHandler(function) if in_transaction else PlainHandler(function)
            return function

        return register

    def find(self, type_: str) -> Handler | None:
        """Return the handler for tasks of `type_`, or None."""
        return self._handlers.get(type_)

    @property
    def types(self) -> frozenset[str]:
        """The task types that have a handler."""
        return frozenset(self._handlers)


registry = Registry()
task = registry.task


def load(module: str) -> Registry:
    """Import `module`, also from the working directory, and return the registry that it has filled.

    The working directory comes first, as it does for `python handlers.py`, so that the application's own names win over
    installed packages. Ours are imported already.

    Raises HandlersUnusable if it cannot be imported, for any reason, or registers no handler, and the Problem of a
    scheduled job that it declares.
    """
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    try:
        importlib.import_module(module)
    except Problem:
        raise  # of a declaration in it, with its own remedy
    except (Exception, SystemExit) as error:
        raise HandlersUnusable(
            f"CONSUMERS_HANDLERS: importing {module} raised {type(error).__name__}: {error}", remedy=_remedy(error)
        ) from error
    if not registry.types:
        raise HandlersUnusable(
            f"CONSUMERS_HANDLERS: {module} registers no handler",
            remedy='decorate a function with @task("type"), imported from consumers',
        )
    return registry


def _remedy(error: BaseException) -> str:
    package = __name__.partition(".")[0]
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == package and Path(package).is_dir():
        return f"{package} is this program's package and hides the one in the working directory: rename that one"
    return "name an importable Python module that registers handlers, such as consumers.examples"
