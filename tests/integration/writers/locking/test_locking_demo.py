"""The locking demo on real instances, nginx and Postgres: nothing is grabbed twice, and nothing stays locked.

The instances connect as outbox_service, which has been granted outbox_demo.
"""

import json
import os
import re
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from itertools import takewhile
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import pytest

from sandbox import Isolated
from sandbox.machine import packages
from sandbox.machine.waiting import until
from tests.integration.writers.service import stage as service
from tests.support.commands import Command
from writers.locking import balancer, grabbing, instances
from writers.locking.client import Failed, Outcome, Service, Taken
from writers.locking.grabbing import Look, Plan
from writers.locking.observing import observe

pytestmark = pytest.mark.usefixtures("nginx")

NAMES = {"writers-1", "writers-2", "writers-3"}


@pytest.fixture(scope="session")
def nginx() -> Path:
    """Let nginx be installed."""
    return packages.nginx()


class Stage:
    """A database with its roles, and instances behind nginx or the whole command."""

    def __init__(self, isolated: Isolated, directory: Path, stack: ExitStack) -> None:
        self.service = service.Stage(isolated, directory, stack)
        self.service.allow_demo()
        self.database = self.service.database
        self._url = self.service.settings["WRITERS_DATABASE_URL"]
        self._directory = directory
        self._stack = stack

    def instances(self) -> tuple[list[instances.Instance], Service]:
        """Start three instances, in this process' hands."""
        started = self._stack.enter_context(instances.started(3, database_url=self._url, pool_wait="30"))
        url = self._stack.enter_context(balancer.started([each.address for each in started]))
        return started, Service(url)

    def command(self, *options: str) -> Command:
        """Start `writers locking-demo`."""
        settings = {"WRITERS_DATABASE_URL": self._url, "TMPDIR": str(self._directory)}
        command = Command("demo", ["writers", "locking-demo", *options], settings, self._directory)
        self._stack.callback(command.end)
        return command

    def rows(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        return self.database.execute(statement).fetchall()


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(isolated, tmp_path, stack)


def test_with_skip_locked_they_work_at_once_and_without_it_one_after_the_other(stage: Stage) -> None:
    command = stage.command("--json", "--seconds", "0.5", "--without-skip-locked")
    code, found = command.ended(seconds=90), json.loads(command.stdout or "null")
    assert code == 0, f"{command.tail()}{_wrong(found)}"
    assert command.stderr == ""
    with_it, without_it = found["with_skip_locked"], found["without_skip_locked"]
    for run in (with_it, without_it):
        assert [run[name] for name in ("requests", "successful", "none_left", "failed")] == [15, 15, 0, 0]
        assert run["instances"].keys() == NAMES
        assert {each["number"] for each in run["grabs"]} == set(range(1, 16))
        assert [each for each in run["observations"] if not each["holds"]] == []
    assert with_it["rows_locked_at_once"] > 1
    assert without_it["rows_locked_at_once"] == 1
    assert with_it["total_seconds"] < 7.5 <= without_it["total_seconds"]
    assert without_it["longest_seconds"] >= 7.5
    assert stage.rows("SELECT status, count(*) FROM tasks.task GROUP BY status ORDER BY status") == [
        ("completed", 15),
        ("pending", 15),
    ]


def test_a_service_that_has_lost_its_skip_locked_is_found(stage: Stage) -> None:
    ((function,),) = stage.rows("SELECT pg_get_functiondef('tasks.demo_grab'::regproc)")
    assert function.count("SKIP LOCKED") == 1
    stage.database.execute(function.replace("SKIP LOCKED", "").encode())
    command = stage.command("--json", "--requests", "4", "--seconds", "0.5")
    assert command.ended(seconds=60) == 1, command.tail()
    (wrong,) = [
        each["text"] for each in json.loads(command.stdout)["with_skip_locked"]["observations"] if not each["holds"]
    ]
    assert re.fullmatch(r"they waited for each other: \d\.\d s for 2 s of work", wrong)


def test_it_prints_each_grab_the_summary_a_bar_for_each_instance_and_what_was_checked(stage: Stage) -> None:
    command = stage.command("--requests", "4", "--tasks", "3", "--workers", "2", "--seconds", "0.4")
    assert command.ended(seconds=60) == 0, command.tail()
    text = command.stdout
    grabs = re.findall(r"^  task +(\d+)  ([0-9a-f-]{36})  (writers-[12]) +\d\.\d\d s$", text, re.MULTILINE)
    assert sorted(number for number, _, _ in grabs) == ["1", "2", "3"]
    ids = {str(task_id) for (task_id,) in stage.rows("SELECT id FROM tasks.task WHERE status = 'completed'")}
    assert {task_id for _, task_id, _ in grabs} == ids
    assert len(re.findall(r"^  none left +writers-[12] +\d\.\d\d s$", text, re.MULTILINE)) == 1
    for label in ("requests", "successful", "none left", "failed", "total time", "average time", "longest time"):
        assert re.search(rf"^│ {label} +│ +[\d.]+( s)? │$", text, re.MULTILINE), label
    assert len(re.findall(r"^  writers-[12] +█* [123]$", text, re.MULTILINE)) == 2
    assert "  ✓ no task was grabbed twice: 3 answers, all of different tasks\n" in text
    assert "✗" not in text


def test_tasks_of_other_types_are_left_alone(stage: Stage) -> None:
    stage.rows("SELECT tasks.submit('greet') FROM generate_series(1, 3)")
    command = stage.command("--requests", "2", "--tasks", "2", "--seconds", "0", "--json")
    assert command.ended(seconds=60) == 0, command.tail()
    assert stage.rows("SELECT type, status, count(*) FROM tasks.task GROUP BY 1, 2 ORDER BY 1") == [
        ("demo.grab", "completed", 2),
        ("greet", "pending", 3),
    ]


def test_get_tasks_shows_which_rows_are_locked_and_by_which_instance(stage: Stage) -> None:
    _, behind = stage.instances()
    looks: list[Look] = []
    run = grabbing.run(behind, Plan(tasks=5, requests=3, seconds=1.5), looked=looks.append)
    assert Look(3, frozenset(NAMES)) in looks
    assert all(look.locked <= 3 for look in looks)
    assert [task.locked_by for task in run.left] == [None] * 5
    assert [each.text for each in observe(run, instances=3) if not each.holds] == []


def test_of_200_grabs_at_once_none_gets_anothers_task_while_an_instance_is_killed(stage: Stage) -> None:
    started, behind = stage.instances()
    killed = started[1].program
    seen: list[Outcome] = []

    def ended(outcome: Outcome) -> None:
        if isinstance(outcome, Taken) and outcome.instance == "writers-2" and not seen:
            seen.append(outcome)
            killed.kill()  # in the middle of its other grabs

    run = grabbing.run(behind, Plan(tasks=250, requests=200, seconds=0.5), ended=ended)
    assert len(run.outcomes) == 200
    assert 0 < len(run.failed) < 80
    assert {each.reason for each in run.failed} == {"502 Bad Gateway"}
    assert len({each.id for each in run.taken}) == len(run.taken)
    wrong = [each.text for each in observe(run, instances=3) if not each.holds]
    assert wrong == [f"{len(run.failed)} requests have failed: 502 Bad Gateway ({len(run.failed)})"]
    # What the killed one held is pending again: somebody else gets it now.
    rest = list(
        takewhile(
            lambda each: isinstance(each, Taken),
            iter(lambda: behind.grab(0, skip_locked=True, answered_within=30), None),
        )
    )
    lost = 250 - len(run.taken) - len(rest)
    assert 0 <= lost <= len(run.failed)
    assert not any(isinstance(each, Failed) for each in rest)
    assert stage.rows("SELECT status, version, attempts, count(*) FROM tasks.task GROUP BY 1, 2, 3") == [
        ("completed", 3, 1, 250)
    ]


def test_the_task_of_a_client_that_leaves_in_the_middle_is_pending_again(stage: Stage) -> None:
    _, behind = stage.instances()
    behind.create(1)
    place = urlsplit(behind.url)
    client = HTTPConnection(str(place.hostname), place.port)
    client.request("POST", "/grab-task?seconds=60")
    until(lambda: [task.locked_by for task in behind.tasks()] != [None], what="the task is grabbed", seconds=30)
    client.close()
    until(lambda: [task.locked_by for task in behind.tasks()] == [None], what="its lock is free", seconds=30)
    assert [(task.status, task.attempts) for task in behind.tasks()] == [("pending", 0)]
    assert isinstance(behind.grab(0, skip_locked=True, answered_within=30), Taken)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 128 + signal.SIGINT), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_its_instances_and_nginx_end_with_it(stage: Stage, number: signal.Signals, code: int) -> None:
    command = stage.command("--seconds", "60")
    until(
        lambda: (15,) in stage.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
        what="15 tasks are grabbed",
        seconds=60,
    )
    programs = _descendants(command.process.pid)
    assert len(programs) == 5, "three instances, nginx and its worker"
    handles = {pid: os.pidfd_open(pid) for pid in programs}
    try:
        command.process.send_signal(number)
        assert command.ended(seconds=60) == code, command.tail()
        for pid, handle in handles.items():  # an instance may take WRITERS_GRACE, 20 s, and then its clean-up
            assert select.select([handle], [], [], 60)[0], f"after {number.name} there still runs {_what_runs(pid)}"
    finally:
        for handle in handles.values():
            os.close(handle)
    assert stage.rows("SELECT status, count(*) FROM tasks.task GROUP BY 1") == [("pending", 30)]


def test_without_the_schema_it_says_what_the_first_instance_says(stage: Stage) -> None:
    stage.database.execute("DROP SCHEMA tasks, outbox, relay, inbox CASCADE")
    command = stage.command()
    assert command.ended(seconds=60) == 1
    assert "run `relay setup`" in command.stderr


def test_without_the_demos_rights_it_says_what_the_instance_has_logged(stage: Stage) -> None:
    stage.database.execute("REVOKE outbox_demo FROM outbox_service")
    command = stage.command()
    assert command.ended(seconds=60) == 1
    assert re.fullmatch(r"writers: writers-[123]: .*permission denied.* - .*GRANT outbox_demo TO .*\n", command.stderr)


def _wrong(found: dict[str, Any] | None) -> list[str]:
    """Return what did not hold, of each run that the command has printed."""
    runs = [run for run in (found or {}).values() if isinstance(run, dict)]
    return [each["text"] for run in runs for each in run.get("observations", ()) if not each["holds"]]


def _what_runs(pid: int) -> str:
    """Return a program's words, and where in the kernel each of its threads waits (proc(5))."""
    place = Path("/proc") / str(pid)
    words = (place / "cmdline").read_text(errors="replace").replace("\0", " ")
    waits = [f"{each.parent.name} in {each.read_text() or 'nothing'}" for each in place.glob("task/*/wchan")]
    return f"{words}({', '.join(waits)})"


def _descendants(pid: int) -> list[int]:
    """Return the processes that `pid` has started, and those that they have (proc(5))."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = [each for each, parent in parents.items() if parent == pid]
    return found + [each for child in found for each in _descendants(child)]
