"""Where sandboxes live: a directory each, with a file that its owner holds locked for as long as it lives.

The kernel frees the lock when the owner ends, however it ends; whoever finds it free may clear the directory. The
directory `kept` is the exception: it belongs to nobody's life, and only `sandbox down` removes it.
"""

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outboxkit.errors import Problem

COMPANIONS = "companions"
"""The part of a sandbox's directory that processes beside its servers belong to."""
_KEPT = "kept"


def root() -> Path:
    """Return this user's directory for sandboxes, made on first use; raises Problem if somebody else made it."""
    path = Path(tempfile.gettempdir()).resolve() / f"sandbox-{os.getuid()}"
    path.mkdir(mode=0o711, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Problem(f"{path} belongs to another user", remedy="set TMPDIR to a directory of your own")
    path.chmod(0o711)  # the servers' users pass through it, and nobody lists it
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` of this user's sandboxes; waits for whoever has it."""
    with (root() / f"{name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Owned:
    """A sandbox's directory that this process holds; `remove` clears it and lets it go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = os.open(path / "owner", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise

    def remove(self) -> None:
        """Remove the directory and everything in it; safe to call again."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def name_new() -> Path:
    """Return a name for a new directory; nothing is made yet, so that its removal can be arranged first."""
    return root() / secrets.token_hex(4)


def make(path: Path) -> Owned:
    """Make the directory `path` and own it."""
    with locked("directories"):
        path.mkdir(mode=0o711)
        return Owned(path)


def abandoned() -> list[Owned]:
    """Take over every directory whose owner is gone."""
    found = []
    with locked("directories"):
        for path in root().iterdir():
            if path.is_dir() and path.name != _KEPT:
                try:
                    found.append(Owned(path))
                except BlockingIOError:
                    continue
    return found


def kept() -> Path:
    """Return the directory of the one sandbox that outlives its command; it may not exist."""
    return root() / _KEPT
