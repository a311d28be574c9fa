"""The user that a server runs as: its own user when root starts it, otherwise the caller."""

import os
import pwd
from pathlib import Path
from typing import NamedTuple, TypedDict

from outboxkit.errors import Problem


class Credentials(TypedDict, total=False):
    """What `subprocess` takes to run a program as another user."""

    user: int
    group: int
    extra_groups: list[int]


class Account(NamedTuple):
    """A user of this machine; `credentials` is empty when it is the caller."""

    uid: int
    gid: int
    credentials: Credentials

    def own(self, path: Path) -> None:
        """Give `path` to this user."""
        if self.credentials:
            os.chown(path, self.uid, self.gid)

    def entrust(self, path: Path, text: str) -> None:
        """Write `text` to `path`, which only this user can read."""
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")
        path.chmod(0o600)
        self.own(path)


def caller() -> Account:
    """Return the user who runs this process."""
    return Account(os.getuid(), os.getgid(), {})


def account(name: str) -> Account:
    """Return the user that a server runs as: `name` when the caller is root, otherwise the caller.

    Raises Problem when the caller is root and there is no such user: Postgres refuses to run as root.
    """
    if os.getuid() != 0:
        return caller()
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise Problem(
            f"the server cannot run as root, and there is no user {name!r}",
            remedy=f"add the user {name}, or do not run as root",
        ) from error
    return Account(user.pw_uid, user.pw_gid, {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []})
