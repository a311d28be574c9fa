"""The registry of users' handlers, by task type. It runs none of them.

    @task("send-mail", retry=RetryPolicy(attempts=3), timeout="30 s")
    def send_mail(task: Task) -> None: ...

There are two kinds of handlers, with different guarantees:

* `@task("type")` on `def handle(task)`: the completion is written after the handler returns, together with many
  others. If the process dies before that, the task runs again: **at least once**.
* `@task("type", in_transaction=True)` on `def handle(task, connection)`: `connection` is in a transaction that also
  writes the completion, under a version check. If the claim was lost meanwhile (the task was cancelled, or the lease
  expired), everything is rolled back. Effects in the same database are committed if and only if the task completes:
  **effectively once**.

A `def` runs in a thread, an `async def` on the loop, with an asynchronous connection if it is in a transaction. The
return value is stored as JSON as the task's result; an exception is stored as the task's last error, and the policy of
its type decides whether it is tried again.
"""

import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, overload

import psycopg

from consumers.durations import Duration, seconds
from consumers.errors import HandlersUnusable
from consumers.handlers.declaring.retries import RetryPolicy
from consumers.handlers.declaring.task import JSON, Task
from outboxkit.errors import Problem

Plain: TypeAlias = Callable[[Task], JSON] | Callable[[Task], Awaitable[JSON]]
InTransaction: TypeAlias = (
    Callable[[Task, "psycopg.Connection[Any]"], JSON]
    | Callable[[Task, "psycopg.AsyncConnection[Any]"], Awaitable[JSON]]
)
P = TypeVar("P", bound=Plain)
T = TypeVar("T", bound=InTransaction)


@dataclass(frozen=True, slots=True)
class Handler:
    """A user's function, and how it is run."""

    call: Callable[..., Any]
    in_transaction: bool = False
    retry: RetryPolicy = RetryPolicy()  # noqa: RUF009 - immutable
    timeout: float | None = None
    """For how many seconds it may run."""
    is_async: bool = False
    """Whether it runs on the loop, and not in a thread."""


class Registry:
    """Handlers by task type."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    @overload
    def task(
        self,
        type_: str,
        *,
        in_transaction: Literal[False] = False,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
    ) -> Callable[[P], P]: ...

    @overload
    def task(
        self,
        type_: str,
        *,
        in_transaction: Literal[True],
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
    ) -> Callable[[T], T]: ...

    def task(
        self,
        type_: str,
        *,
        in_transaction: bool = False,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
    ) -> Callable[[Any], Any]:
        """Register the decorated function for tasks of `type_`.

        A run that takes longer than `timeout` (seconds, or "5m") has failed. An asynchronous handler is cancelled then;
        a thread cannot be ended from outside, so its handler should look at `task.cancelled()`.

        Raises ValueError if `type_` is registered already, or `timeout` is no duration.
        """
        allowed = None if timeout is None else seconds(timeout)
        if allowed == 0:
            raise ValueError(f"the timeout of {type_!r} is 0: its handler could never end in time")

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            if type_ in self._handlers:
                raise ValueError(f"two handlers are registered for tasks of type {type_!r}")
            self._handlers[type_] = Handler(
                function, in_transaction, retry or RetryPolicy(), allowed, _is_async(function)
            )
            return function

        return register

    def find(self, type_: str) -> Handler | None:
        """Return the handler for tasks of `type_`, or None."""
        return self._handlers.get(type_)

    @property
    def types(self) -> frozenset[str]:
        """The task types that have a handler."""
        return frozenset(self._handlers)


def _is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call gives an awaitable; an object may be called too."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


registry = Registry()
task = registry.task


def load(module: str, *, others: Callable[[], bool] = lambda: False) -> Registry:
    """Import `module`, also from the working directory, and return the registry that it has filled.

    The working directory comes first, as it does for `python handlers.py`, so that the application's own names win over
    installed packages. Ours are imported already.

    Raises HandlersUnusable if it cannot be imported, for any reason, or registers no handler and no `others`, and the
    Problem of a scheduled job that it declares.
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
    if not registry.types and not others():
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
