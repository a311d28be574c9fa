"""Runs what was drawn, one after the other, within one limit of time for all of it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.sample.drawing import Run

_ROOT = Path(__file__).parents[2]
_TO_CLEAR_UP = 30.0
"""Seconds of the limit that a run which it stops has left, to end its servers."""


def run_all(runs: Sequence[Run], *, seconds: float, say: Callable[[str], None], make: str = "make") -> list[Run]:
    """Run `runs` and return those that failed. What the limit leaves out or stops is reported, and has not failed."""
    end = time.monotonic() + seconds - _TO_CLEAR_UP
    failed = []
    for run in runs:
        left = end - time.monotonic()
        code = None
        if left > 0:
            say(f"$ {run}")
            code = _ended([make, run.target, f"ARGS={run.arguments}"], seconds=left)
        if code is None:
            say(f"not run: {run}: the limit of {seconds:g} s was reached")
        elif code != 0:
            failed.append(run)
    return failed


def _ended(command: Sequence[str], *, seconds: float) -> int | None:
    """Run `command` in a process group of its own and return its exit code; None if it had to be stopped."""
    process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.DEVNULL, process_group=0)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, unless it has ended: SIGTERM first, so that it ends its servers."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_TO_CLEAR_UP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
