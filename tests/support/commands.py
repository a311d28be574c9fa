"""The installed commands as real processes. A test reads their output, and ends them.

A command gets only the settings that the test gives it: none of the developer's shell. But it runs the same sources as
the tests, so PYTHONPATH is passed on: by it `make mutants` names a copy.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.machine.waiting import until

ROOT = Path(__file__).parents[2]
_PROGRAMS = Path(sys.executable).parent
_TAIL_LINES = 40


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a command that has `settings`."""
    sources = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    shell = {"PATH": f"{_PROGRAMS}:{os.environ['PATH']}", "LANG": "C.UTF-8", "HOME": os.environ["HOME"]}
    return {**shell, **sources, **settings}


class Command:
    """A running command; its output is kept in `directory`, in files called `name`.

    `stdout` is a file descriptor that takes its standard output instead.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        settings: Mapping[str, str],
        directory: Path,
        *,
        stdout: int | None = None,
    ) -> None:
        self.name = name
        self._out = directory / f"{name}.out"
        self._err = directory / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [_PROGRAMS / arguments[0], *arguments[1:]],
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err,
                cwd=ROOT,
                env=environment(settings),
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text(encoding="utf-8")

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines logged so far; a line that is still being written is left out."""
        lines = self.stderr.splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]

    @property
    def sources(self) -> list[str]:
        """The sources that a relay has read so far, one for each time that it opened one."""
        return [line["source"] for line in self.log if line["event"] == "streaming"]

    def logged(self, event: str, *, seconds: float = 60, **fields: str) -> dict[str, Any]:
        """Wait until it has logged `event` with these fields, and return that line; fails if it ends before."""
        what = f"{self.name} logs {event!r} {fields or ''}"
        return until(lambda: self._find(event, fields), what=what, seconds=seconds, every=0.01)

    def streams(self, *, seconds: float = 60) -> None:
        """Wait until a relay streams from the WAL; at its first start it polls before."""
        self.logged("streaming", seconds=seconds, source="wal")

    def complains(self, words: str, *, seconds: float = 60) -> None:
        """Wait until a line of its log has `words` in its reason."""
        until(
            lambda: any(words in str(line.get("reason")) for line in self.log),
            what=f"{self.name} gives as a reason: {words}",
            seconds=seconds,
        )

    def outlives(self, seconds: float) -> bool:
        """Wait at most `seconds` for it to end; return whether it still runs."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def ended(self, *, seconds: float = 30) -> int:
        """Wait for it to end, and return its exit code."""
        return self.process.wait(seconds)

    def terminate(self) -> int:
        """Ask it to end, as an orchestrator does, and return its exit code."""
        self.process.terminate()
        return self.ended()

    def kill(self) -> None:
        """End it with SIGKILL; fails if it had ended by itself."""
        self.process.kill()
        code = self.ended()
        assert code == -signal.SIGKILL, f"{self.name} had ended with {code}\n{self.tail()}"

    def end(self) -> None:
        """End it, if it still runs."""
        self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        """Return the last lines of its log, for the output of a failed test."""
        lines = self.stderr.splitlines()[-_TAIL_LINES:]
        return "\n".join([f"--- {self.name}: exit code {self.process.returncode}, standard error:", *lines])

    def _find(self, event: str, fields: Mapping[str, str]) -> dict[str, Any]:
        ended = not self.running  # read first, so that its log is complete if it has ended
        wanted = {"event": event, **fields}.items()
        found = next((line for line in self.log if wanted <= line.items()), {})
        assert found or not ended, f"{self.name} ended without logging {event!r} {fields or ''}\n{self.tail()}"
        return found
