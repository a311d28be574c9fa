"""Where sandboxes live: one directory each, with a file that its owner locks for as long as it lives.

The kernel releases the lock when the owner ends, for whatever reason. A directory whose lock is free may be cleared.
The directory of a kept sandbox has no owner but a checkout: `sandbox down` there removes it, or the next start of any
sandbox once the checkout is gone.
"""

import fcntl
import hashlib
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
_KEPT = "kept-"
_KEPT_PER_USER = "kept"  # earlier versions kept one sandbox per user
_CHECKOUT = "checkout"


def root() -> Path:
    """Return this user's directory for sandboxes, made on first use; raises Problem if another user made it."""
    path = Path(tempfile.gettempdir()).resolve() / f"sandbox-{os.getuid()}"
    path.mkdir(mode=0o711, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Problem(f"{path} belongs to another user", remedy="set TMPDIR to a directory of your own")
    path.chmod(0o711)  # the servers' users pass through it; only its owner lists it
    return path


def checkout() -> Path:
    """Return the checkout that this code runs from."""
    return Path(__file__).resolve().parents[2]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` of this user's sandboxes; waits until it is free."""
    with (root() / f"{name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Owned:
    """A sandbox's directory that this process owns; `remove` removes it and releases its lock."""

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
    """Return a name for a new directory. It is not made yet, so that its removal can be arranged first."""
    return root() / secrets.token_hex(4)


def make(path: Path) -> Owned:
    """Make the directory `path` and own it."""
    with locked("directories"):
        path.mkdir(mode=0o711)
        return Owned(path)


def abandoned() -> list[Owned]:
    """Take over every directory whose owner or checkout is gone."""
    found = []
    with locked("directories"):
        for path in root().iterdir():
            if path.is_dir() and not _belongs_to_checkout(path):
                try:
                    found.append(Owned(path))
                except BlockingIOError:
                    continue
    return found


def kept() -> Path:
    """Return the directory of this checkout's kept sandbox; it may not exist."""
    return root() / f"{_KEPT}{hashlib.sha256(os.fsencode(checkout())).hexdigest()[:12]}"


def make_kept() -> Path:
    """Make the directory of this checkout's kept sandbox; a file in it names the checkout."""
    path = kept()
    with locked("directories"):
        path.mkdir(mode=0o711)
        (path / _CHECKOUT).write_bytes(os.fsencode(checkout()))
    return path


def kept_per_user() -> Path:
    """Return the directory of the kept sandbox of an earlier version; it may not exist."""
    return root() / _KEPT_PER_USER


def _belongs_to_checkout(path: Path) -> bool:
    if path.name == _KEPT_PER_USER:
        return True
    if not path.name.startswith(_KEPT):
        return False
    try:
        Path(os.fsdecode((path / _CHECKOUT).read_bytes())).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # it may exist, and only be unreadable from here
    return True
