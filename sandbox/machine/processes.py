"""The processes of a sandbox. They are found and ended by a mark in their environment, never by their name.

Every process that a sandbox starts has `BELONGS_TO_SANDBOX=<its directory>/<its part>` in its environment. Its children
inherit it, also those that detach themselves (epmd, erl_child_setup, inet_gethost). Postgres is the exception: it
overwrites the environment with its process title (`update_process_title`,
https://www.postgresql.org/docs/current/runtime-config-logging.html), but all its processes run in the data directory.
"""

import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from outboxkit.errors import Problem
from sandbox.machine.accounts import Account
from sandbox.machine.waiting import until

MARK = "BELONGS_TO_SANDBOX"
_KILLED_SECONDS = 20.0
_EXEC_SECONDS = 0.02
_SUSPENDED_SECONDS = 10.0


class Process(NamedTuple):
    """A process of a sandbox. `started` is in clock ticks since boot, so sorting puts parents before children."""

    started: int
    pid: int
    program: str


def belonging(place: Path) -> list[Process]:
    """Return the processes that belong to `place`, a sandbox's directory or a part of it; parents first.

    A process has no environment for a moment during execve(2), so an empty result is checked a second time.
    """
    found = sorted(_belonging(place))
    if not found:
        time.sleep(_EXEC_SECONDS)
        found = sorted(_belonging(place))
    return found


def spawn(place: Path, command: list[str], *, account: Account, environment: Mapping[str, str], log: Path) -> None:
    """Start `command` as a process of `place`, in its own session; its output goes to `log`.

    setsid(1) forks first, so a terminal's Ctrl-C does not reach the process, and init reaps it.
    """
    with log.open("ab") as output:
        os.fchmod(output.fileno(), 0o600)
        subprocess.run(
            ["setsid", "--fork", *command],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=place,
            env=marked(place, environment),
            **account.credentials,
        )


def marked(place: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` with the mark of `place`."""
    return {**environment, MARK: str(place)}


def end(place: Path, *, ask: signal.Signals | None = None, grace: float = 0.0) -> None:
    """End every process of `place`: send the signal `ask` first, if given, and SIGKILL `grace` seconds later."""
    if ask is not None:
        send(place, ask, timeout=grace)
    deadline = time.monotonic() + _KILLED_SECONDS
    while left := belonging(place):
        if time.monotonic() > deadline:
            raise Problem(
                f"process {left[0].pid} ({left[0].program}) of {place} survived SIGKILL",
                remedy="it waits for the kernel; try again when it has ended",
            )
        send(place, signal.SIGKILL, timeout=1.0)


def send(place: Path, number: signal.Signals, *, program: str = "", timeout: float = 0.0) -> bool:
    """Send a signal to the processes of `place` (only those of `program`, if given) and wait for them to end.

    Returns whether all of them ended within `timeout` seconds. A pidfd never refers to another process that got the
    same pid later (https://man7.org/linux/man-pages/man2/pidfd_open.2.html).
    """
    with ExitStack() as stack:
        waiting = select.poll()
        left = 0
        handles: list[int] = []
        for process in belonging(place):
            if not process.program.startswith(program):
                continue
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(process.pid)
                stack.callback(os.close, handle)
                if _identify(process.pid, place) == process:
                    handles.append(handle)
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            waiting.register(handle, select.POLLIN)
            left += 1
        deadline = time.monotonic() + timeout
        while left and (remaining := deadline - time.monotonic()) > 0:
            for handle, _ in waiting.poll(remaining * 1000):
                waiting.unregister(handle)
                left -= 1
        return left == 0


def suspend(place: Path, *, program: str = "") -> None:
    """Stop the processes of `place` (only those of `program`, if given) where they are, until SIGCONT.

    Returns when each of their threads stands still: one that runs when the signal is sent may still answer a request.
    """
    send(place, signal.SIGSTOP, program=program)
    until(
        lambda: all(_stands_still(one.pid) for one in belonging(place) if one.program.startswith(program)),
        what=f"the processes of {place} stand still",
        seconds=_SUSPENDED_SECONDS,
        every=0.001,
    )


def _stands_still(pid: int) -> bool:
    """Return whether no thread of a process runs: proc(5) has the state behind the name."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        stats = [(task / "stat").read_text(encoding="utf-8", errors="replace") for task in tasks]
    except OSError:
        return False  # a thread has ended meanwhile
    return all(stat.rpartition(")")[2].split()[0] in "TXZ" for stat in stats)


def _belonging(place: Path) -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _identify(int(entry.name), place)) is not None:
            yield found


def _identify(pid: int, place: Path) -> Process | None:
    """Return process `pid` if it belongs to `place`; None for a zombie, or for a process that ends meanwhile."""
    try:
        with _permissions_of_owner(pid):
            if not (_carries_mark(pid, place) or _is_postgres_of(pid, place)):
                return None
        # Fields are counted after the program's name, which may contain spaces and parentheses (proc(5)).
        name, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        return Process(int(rest.split()[19]), pid, name.partition("(")[2])
    except OSError:
        return None


@contextmanager
def _permissions_of_owner(pid: int) -> Iterator[None]:
    """Read files as the user that `pid` runs as, in this thread only (setfsuid(2)).

    Reading the environment of another user's process needs CAP_SYS_PTRACE, which root in a container does not have
    (ptrace(2), access mode checking); the process' own user may always read it.
    """
    owner = Path(f"/proc/{pid}").stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.setfsgid(owner.st_gid)
    libc.setfsuid(owner.st_uid)
    try:
        yield
    finally:
        libc.setfsuid(os.geteuid())
        libc.setfsgid(os.getegid())


def _carries_mark(pid: int, place: Path) -> bool:
    start = f"{MARK}=".encode()
    for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if variable.startswith(start):
            return _within(os.fsdecode(variable.removeprefix(start)), place)
    return False


def _is_postgres_of(pid: int, place: Path) -> bool:
    program, directory = (_target(Path(f"/proc/{pid}/{link}")) for link in ("exe", "cwd"))
    return program.endswith("/postgres") and _within(directory, place)


def _target(link: Path) -> str:
    return str(link.readlink()).removesuffix(" (deleted)")


def _within(path: str, place: Path) -> bool:
    return path == str(place) or path.startswith(f"{place}/")
