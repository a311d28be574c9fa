"""Steps that are written once, for threads and for the loop.

A generator yields what is to be called, and gets what that returned, or what it raised. It does not wait; the functions
here do.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

R = TypeVar("R")

Steps: TypeAlias = Generator[Callable[[], Any], Any, R]


def take(steps: Steps[R]) -> R:
    """Call what `steps` yields, in this thread; return what the steps return."""
    try:
        call = next(steps)
        while True:
            try:
                value = call()
            except BaseException as error:  # noqa: BLE001 - the steps decide about it
                call = steps.throw(error)
            else:
                call = steps.send(value)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's return value


async def take_async(steps: Steps[R]) -> R:
    """Await what `steps` yields; return what the steps return."""
    try:
        call = next(steps)
        while True:
            try:
                value = await call()
            except BaseException as error:  # noqa: BLE001 - the steps decide about it
                call = steps.throw(error)
            else:
                call = steps.send(value)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's return value
