"""A sandbox that lives for a `with` block."""

import atexit
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.lifetime.ending import end, sweep
from sandbox.lifetime.isolation import Isolated, Isolation
from sandbox.machine import directories, signals
from sandbox.servers import choice
from sandbox.servers.backend import Box
from sandbox.settings import SandboxSettings, read


@dataclass(frozen=True)
class Sandbox(Box):
    """Two servers that live for a block, and isolated parts of them for tests."""

    isolation: Isolation
    directory: Path
    """The sandbox's own. Processes started in it by `processes.spawn` end with the sandbox."""

    def isolated(self) -> AbstractContextManager[Isolated]:
        """Return a database with the schema, and a name for a slot, exchanges and queues, for one test alone."""
        return self.isolation.isolated()


@contextmanager
def start(settings: SandboxSettings | None = None, *, schema: Callable[[str], None] | None = None) -> Iterator[Sandbox]:
    """Start both servers, and end them at the end of the block, also after an error.

    `settings` default to those of the environment. `schema` is called once, with the URL of the database that
    isolated databases are copied from. Raises Problem when a server is missing or does not start. Inside the block,
    SIGTERM and SIGHUP raise SystemExit, as Ctrl-C raises KeyboardInterrupt.
    """
    _, backend = choice.choose(settings or read())
    sweep()
    with signals.raised(), owned_directory() as directory:
        box = backend.create(directory)
        isolation = Isolation(box.servers, schema)
        try:
            yield Sandbox(box.servers, box.postgres, box.rabbitmq, isolation, directory)
        finally:
            isolation.close()


@contextmanager
def owned_directory() -> Iterator[Path]:
    """Make a directory for the block. Its removal is arranged first, since a signal may come between any two lines."""
    remover = _Remover(directories.name_new())
    atexit.register(remover.remove)
    try:
        remover.owned = directories.make(remover.path)
        yield remover.path
    finally:
        with signals.deferred():
            remover.remove()
        atexit.unregister(remover.remove)


class _Remover:
    """Removes one directory, only in the process that made it: a fork inherits the atexit handler."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owned: directories.Owned | None = None
        self._pid = os.getpid()

    def remove(self) -> None:
        if os.getpid() != self._pid or not self.path.exists():
            return
        end(self.path)
        if self.owned is None:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.owned.remove()
