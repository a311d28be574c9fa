"""The processes of one demo. They belong to the sandbox's directory, so they end with the sandbox at the latest."""

import json
import signal
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

from outboxkit.errors import Problem
from sandbox.lifetime.isolation import Isolated
from sandbox.machine import commands, processes
from sandbox.machine.accounts import caller
from sandbox.machine.directories import COMPANIONS


class Stage:
    """Starts and ends the project's commands, each with its own directory and log."""

    def __init__(self, directory: Path, isolated: Isolated) -> None:
        self._directory = directory
        self._isolated = isolated
        self.settings = {
            "RELAY_DATABASE_URL": isolated.database_url,
            "RELAY_AMQP_URL": isolated.amqp_url,
            "RELAY_SLOT": isolated.name,
            "RELAY_EXCHANGE": isolated.name,
            "RELAY_HTTP_ADDRESS": "",
            "RELAY_RETURN_AFTER": "1",
            "CONSUMERS_DATABASE_URL": isolated.database_url,
            "CONSUMERS_AMQP_URL": isolated.amqp_url,
            "CONSUMERS_EXCHANGE": isolated.name,
            "CONSUMERS_QUEUE": isolated.name,
            "CONSUMERS_HANDLERS": "consumers.examples",
            # So that a failed task is tried again, and a killed consumer's tasks run again, while one watches.
            "CONSUMERS_LEASE": "2",
            "CONSUMERS_ENQUEUE_EVERY": "0.2",
            "CONSUMERS_RETRY_BASE": "0.2",
            "WRITERS_DATABASE_URL": isolated.database_url,
            "WRITERS_HTTP_ADDRESS": "127.0.0.1:0",
        }

    @property
    def slot(self) -> str:
        """The name of the relay's replication slot."""
        return self._isolated.name

    def call(self, *words: str, answers: Collection[int] = (0,)) -> str:
        """Run a command to its end, and return what it prints.

        Raises Problem with its error output when its exit code is none of `answers`.
        """
        environment = commands.environment(self.settings)
        done = subprocess.run(commands.found(words), env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in answers:
            raise Problem(f"`{' '.join(words)}` failed: {done.stderr.strip()}", remedy="see its message")
        return done.stdout

    def start(self, name: str, *words: str) -> None:
        """Start a command as process `name`."""
        place = self.place(name)
        place.mkdir(parents=True, exist_ok=True)
        environment = commands.environment(self.settings)
        processes.spawn(place, commands.found(words), account=caller(), environment=environment, log=self.log(name))

    def logged(self, name: str, word: str) -> bool:
        """Return whether process `name` has logged `word`."""
        return word in self.log(name).read_text(errors="replace")

    def found(self, name: str, *, event: str) -> dict[str, Any]:
        """Return the last line that process `name` has logged of this event; raises KeyError if there is none."""
        lines = self.log(name).read_text(errors="replace").splitlines()
        logged: list[dict[str, Any]] = [json.loads(line) for line in lines if line[:1] + line[-1:] == "{}"]
        return {str(line["event"]): line for line in logged}[event]

    def last_line(self, name: str) -> str:
        """Return the last line that process `name` has logged."""
        lines = self.log(name).read_text(errors="replace").splitlines()
        return lines[-1] if lines else "nothing"

    def kill(self, name: str) -> None:
        """Kill process `name` with SIGKILL, and wait until it has ended."""
        processes.send(self.place(name), signal.SIGKILL, timeout=10)

    def end(self, *names: str) -> None:
        """End processes with SIGTERM, one after the other, and give each 30 s to finish its work."""
        for name in names:
            processes.end(self.place(name), ask=signal.SIGTERM, grace=30)

    def place(self, name: str) -> Path:
        """Return the directory of process `name`."""
        return self._directory / COMPANIONS / f"{self._isolated.name}-{name}"

    def log(self, name: str) -> Path:
        """Return the log file of process `name`."""
        return self.place(name) / "log"
