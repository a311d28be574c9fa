"""Ends everything that runs for a sandbox's directory, and removes sandboxes that were left behind."""

import signal
import sys
from pathlib import Path

from outboxkit.errors import Problem
from sandbox.machine import directories, processes
from sandbox.servers import choice


def end(directory: Path, *, grace: float = 0.0) -> None:
    """End all that runs for `directory`: first its companions (SIGTERM, SIGKILL after `grace` s), then its servers."""
    processes.end(directory / directories.COMPANIONS, ask=signal.SIGTERM, grace=grace)
    choice.recorded(directory).destroy(directory)


def sweep() -> None:
    """End and remove every sandbox whose owner or checkout is gone; report one that cannot be ended, and go on."""
    for owned in directories.abandoned():
        try:
            end(owned.path)
        except Problem as problem:
            sys.stderr.write(f"sandbox: {owned.path} cannot be removed: {problem}\n")
            continue
        owned.remove()
