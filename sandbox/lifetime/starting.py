"""A sandbox for the time of a block, and the sweeping up after those whose owner was killed."""

import atexit
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from outboxkit.errors import Problem
from sandbox.lifetime import directories
from sandbox.lifetime.isolation import Isolated, Isolation
from sandbox.machine import signals
from sandbox.servers import choice as backends
from sandbox.servers.backend import Box
from sandbox.settings import SandboxSettings, read


@dataclass(frozen=True)
class Sandbox(Box):
    """Two servers for the time of a block, and isolated parts of them for tests."""

    isolation: Isolation
    directory: Path
    """The sandbox's own; what is started as a process of it (`processes.spawn`) ends with it."""

    def isolated(self) -> AbstractContextManager[Isolated]:
        """Return a database with the schema, and a name for a slot, exchanges and queues, for one test alone."""
        return self.isolation.isolated()


@contextmanager
def start(settings: SandboxSettings | None = None, *, schema: Callable[[str], None] | None = None) -> Iterator[Sandbox]:
    """Start both servers, and end them with the block, whatever ends it.

    `settings` are read from the environment when not given. `schema` is called once, with the URL of the database
    that isolated ones are copied from. Raises Problem when a server is missing or does not start. SIGTERM and
    SIGHUP end the block by SystemExit, as Ctrl-C does by KeyboardInterrupt.
    """
    _, backend = backends.choose(settings or read())
    sweep()
    with signals.raised(), owned_directory() as directory:
        box = backend.create(directory)
        isolation = Isolation(box.servers, schema)
        try:
            yield Sandbox(box.servers, box.postgres, box.rabbitmq, isolation, directory)
        finally:
            isolation.close()


def sweep() -> None:
    """End and remove every sandbox whose owner is gone; one that resists is reported and left for the next time."""
    for owned in directories.abandoned():
        try:
            backends.end(owned.path)
        except Problem as problem:
            sys.stderr.write(f"sandbox: {owned.path} cannot be cleared: {problem}\n")
            continue
        owned.remove()


@contextmanager
def owned_directory() -> Iterator[Path]:
    """Make a directory for the block. Its removal stands before it does: a signal may come between any two lines."""
    holder = _Holder(directories.name_new())
    atexit.register(holder.clear)
    try:
        holder.owned = directories.make(holder.path)
        yield holder.path
    finally:
        with signals.deferred():
            holder.clear()
        atexit.unregister(holder.clear)


class _Holder:
    """Clears one directory, in the process that made it: a fork of it inherits the duty but not the right."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owned: directories.Owned | None = None
        self._pid = os.getpid()

    def clear(self) -> None:
        if os.getpid() != self._pid or not self.path.exists():
            return
        backends.end(self.path)
        if self.owned is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.owned.remove()
