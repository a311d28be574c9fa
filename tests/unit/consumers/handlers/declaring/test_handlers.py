"""The registry of handlers, and the import of the module that fills it."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from consumers.errors import HandlersUnusable
from consumers.handlers.declaring import registry as handlers
from consumers.handlers.declaring.registry import Handler, Registry
from consumers.handlers.declaring.retries import RetryPolicy
from consumers.handlers.declaring.task import Task
from outboxkit.amqp.format import TaskReference


def plain(task: Task) -> str:
    return task.type


def with_connection(task: Task, connection: psycopg.Connection[Any]) -> None:
    del task, connection


def test_a_handler_is_found_by_its_type_and_stays_a_plain_function() -> None:
    registry = Registry()
    assert registry.task("a")(plain) is plain
    assert registry.task("b", in_transaction=True)(with_connection) is with_connection
    a, b = registry.find("a"), registry.find("b")
    assert a is not None
    assert (a.call, a.in_transaction) == (plain, False)
    assert b is not None
    assert (b.call, b.in_transaction) == (with_connection, True)
    assert registry.find("c") is None
    assert registry.types == {"a", "b"}


def test_two_handlers_of_one_type_are_refused() -> None:
    registry = Registry()
    registry.task("a")(plain)
    with pytest.raises(ValueError, match="two handlers are registered for tasks of type 'a'"):
        registry.task("a")(plain)


def test_whatever_gives_an_awaitable_runs_on_the_loop() -> None:
    async def function(task: Task) -> None: ...

    class Called:
        async def __call__(self, task: Task) -> None: ...

    registry = Registry()
    registry.task("a")(function)
    registry.task("b")(Called())
    registry.task("c")(partial(function))
    registry.task("d")(plain)
    assert [handler.is_async for name in "abcd" if (handler := registry.find(name))] == [True, True, True, False]


def test_a_handler_has_the_policy_and_the_timeout_of_its_declaration() -> None:
    registry, own = Registry(), RetryPolicy(attempts=3)
    registry.task("a", retry=own, timeout="1h30m")(plain)
    assert registry.find("a") == Handler(plain, retry=own, timeout=5400)
    for wrong in (0, "soon"):
        with pytest.raises(ValueError, match=r"timeout of 'b' is 0|no duration"):
            registry.task("b", timeout=wrong)


def test_a_task_does_not_print_its_payload() -> None:
    assert "planted" not in repr(Task(TaskReference(str(uuid4()), 2), "t", {"secret": "planted"}, 1, 5, "w"))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(handlers, "registry", Registry())
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_in_the_working_directory_is_imported(directory: Path) -> None:
    (directory / "mine.py").write_text(
        "from consumers.handlers.declaring import registry\n@registry.registry.task('mine')\ndef handle(task): ...\n"
    )
    assert handlers.load("mine").types == {"mine"}


APPLICATION = """
import sys
from consumers import Task, task
from messaging import name as messaging
from runtime import name as runtime
from sandbox import name as sandbox
from sql import name as sql
from relay import name as relay
from writers import name as writers

@task(" ".join([messaging, runtime, sandbox, sql, relay, writers]))
def handle(task: Task) -> None: ...
"""


def test_an_application_uses_its_own_packages_whatever_their_names(tmp_path: Path) -> None:
    """The path that it runs with has our packages, as an installation does."""
    for name in ("messaging", "runtime", "sandbox", "sql", "relay", "writers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"name = '{name}'\n")
    (tmp_path / "handlers.py").write_text(APPLICATION)
    program = (
        "import sys; sys.path.remove(''); from consumers.handlers.declaring import registry;"
        " print(*registry.load('handlers').types)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("messaging runtime sandbox sql relay writers\n", "")


def test_a_package_of_the_application_that_ours_hides_is_named(directory: Path) -> None:
    (directory / "consumers").mkdir()
    (directory / "consumers" / "theirs.py").write_text("")
    with pytest.raises(HandlersUnusable, match="hides the one in the working directory: rename that one"):
        handlers.load("consumers.theirs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("this is no python", "SyntaxError"),
        ("raise SystemExit('later')", "SystemExit: later"),
        ("", "registers no handler"),
    ],
)
def test_a_module_that_cannot_be_used_is_a_configuration_problem(directory: Path, text: str, said: str) -> None:
    (directory / "broken.py").write_text(text)
    with pytest.raises(HandlersUnusable) as raised:
        handlers.load("broken")
    assert said in str(raised.value)
    assert raised.value.exit_code == 2
