"""A program that ends is started again, and counted; one that never works is given up."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench.compare.run.processes import service
from bench.compare.run.processes.service import Service
from bench.load import programs
from bench.load.programs import Program
from outboxkit.errors import Problem
from sandbox.machine.waiting import until

SECONDS = 20
WAITS = "import signal; print('ready', flush=True); signal.pause()"


def ready(program: Program) -> bool:
    return "ready" in program.log.read_text().splitlines()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RESTART_SECONDS", 0.01)


def kept(place: Path, code: str) -> Service:
    def start() -> AbstractContextManager[Program]:
        return programs.script(place, [sys.executable, "-c", code], "program", {}, {})

    return Service(start, ready)


def test_a_killed_program_is_started_again_and_counted(tmp_path: Path) -> None:
    with kept(tmp_path, WAITS) as running:
        until(running.ready, what="it is ready", seconds=SECONDS)
        first = running.pid
        running.kill()
        until(lambda: running.pid != first and running.ready(), what="it is ready again", seconds=SECONDS)
        running.check()
        assert running.restarts == 1
    assert not Path(f"/proc/{running.pid}").exists()


def test_a_program_that_always_ends_before_it_is_ready_is_given_up_with_its_last_line(tmp_path: Path) -> None:
    def given_up() -> bool:
        try:
            running.check()
        except Problem as problem:
            return "ended" in problem.what and "no such slot" in problem.what
        return False

    with kept(tmp_path, "print('no such slot')") as running:
        until(given_up, what="it is given up", seconds=SECONDS)


def test_a_program_that_cannot_be_started_says_so_at_once(tmp_path: Path) -> None:
    def start() -> AbstractContextManager[Program]:
        return programs.script(tmp_path, [str(tmp_path / "missing")], "program", {}, {})

    with pytest.raises(OSError, match="missing"), Service(start, ready):
        pass
