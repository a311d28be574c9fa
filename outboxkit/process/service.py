"""How asynchronous work that lasts until a signal is run: `relay run`, `consumers run`, `relay tail`."""

import asyncio
import io
import os
import signal
import socket
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

import structlog

from outboxkit.errors import Problem
from outboxkit.process.signals import Listener, signals

log = structlog.get_logger()


class Stop(asyncio.Event):
    """Is set by the first signal that comes when the work is `ready`. An earlier one cancels the work."""

    def __init__(self) -> None:
        super().__init__()
        self.give_up: Callable[[], None] = _still_starting
        self.early = False
        """Whether the signal came before the work was ready."""
        self._ready = False

    def ready(self, give_up: Callable[[], None]) -> None:
        """From here on the work watches this event, and drains. `give_up` gives back, or tells, what is left."""
        self._ready = True
        self.give_up = give_up

    def reach(self, work: "asyncio.Future[None]") -> None:
        """End `work` in order."""
        if self._ready:
            self.set()
        else:
            self.early = True
            work.cancel()


async def until_signal(work: Callable[[Stop], Awaitable[None]], *, prints: bool) -> bool:
    """Run `work` until it ends or a signal ends it; return whether it had not begun by then. Raises what it raises.

    Work that `prints` to standard output ends too when the reader of that leaves, also while there is nothing to print.
    """
    stop = Stop()
    task = asyncio.ensure_future(work(stop))
    listener = _Listener(stop, task)
    with _woken(), signals.heard(listener), _reader_watched(listener.stop) if prints else nullcontext():
        await asyncio.wait([task])
    with suppress(*(asyncio.CancelledError, Problem) if stop.early else ()):  # whatever its end led to
        task.result()
    return stop.early


def run(work: Callable[[Stop], Awaitable[None]], *, prints: bool = False) -> None:
    """Run the service `work` until SIGTERM or SIGINT, and log it if that came before the work had begun."""
    if asyncio.run(until_signal(work, prints=prints)):
        log.info("stopped", reason="it was told to before it had begun")


class _Listener(Listener):
    """Takes signals from the main thread into the loop."""

    def __init__(self, stop: Stop, work: "asyncio.Future[None]") -> None:
        self._stop = stop
        self._work = work
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.reach, self._work)

    def give_up(self) -> None:
        self._stop.give_up()


def _still_starting() -> None:
    log.warning("stopped", reason="a second signal came before it had begun")


@contextmanager
def _woken() -> Iterator[None]:
    """Let a signal wake the loop: one that comes just before it waits would be seen only after it has waited."""
    loop = asyncio.get_running_loop()
    reader, writer = socket.socketpair()
    with reader, writer:
        for each in (reader, writer):
            each.setblocking(False)
        loop.add_reader(reader, _emptied, reader)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reader)


@contextmanager
def _reader_watched(left: Callable[[], None]) -> Iterator[None]:
    """Call `left` when the reader of standard output leaves, if that is a pipe: its writing end has an error then."""
    try:
        output = sys.stdout.fileno()
    except io.UnsupportedOperation:  # a caller in this process reads it
        yield
        return
    if not stat.S_ISFIFO(os.fstat(output).st_mode):
        yield
        return
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(output)
        left()

    loop.add_reader(output, gone)
    try:
        yield
    finally:
        loop.remove_reader(output)


def _emptied(reader: socket.socket) -> None:
    with suppress(BlockingIOError):
        os.read(reader.fileno(), 4096)
