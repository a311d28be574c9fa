"""The wheel, installed beside an application that has packages of its own under the names our packages once had."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from sandbox import Isolated
from tests.support.commands import ROOT, Command

TOP_LEVEL = {"relay", "consumers", "writers", "outboxkit"}
FILES = "outboxkit/sql/files/"
EXAMPLES = {"effect.sql", "effect_insert.sql", "order_view.sql", "order_view_keep.sql"}
NAMES = ("messaging", "sql", "runtime", "sandbox", "bench")

HANDLERS = """
import bench, messaging, runtime, sandbox, sql
from consumers import Task, task

print(bench.OWNER, messaging.OWNER, runtime.OWNER, sandbox.OWNER, sql.OWNER)

@task("ship")
def ship(task: Task) -> None: ...
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and its dependencies, and the directory of the application."""

    wheel: Path
    environment: Path
    application: Path

    def start(self, name: str, *arguments: str, directory: Path, **settings: str) -> Command:
        """Start an installed command in the application's directory; its output is kept in `directory`."""
        program = str(self.environment / "bin" / name)
        words = ["/usr/bin/env", f"--chdir={self.application}", program, *arguments]
        return Command(name, words, settings, directory)


def pip(*arguments: str | Path) -> None:
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel, and install it where neither the checkout nor its development installation can be imported.

    The dependencies come from this interpreter's site-packages. Python reads no .pth file there, because the directory
    itself is named by one (https://docs.python.org/3/library/site.html): so the editable installation stays invisible.
    """
    base = tmp_path_factory.mktemp("packaging")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", base, ROOT)
    (wheel,) = base.glob("*.whl")
    environment = base / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    pip("--python", environment / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    application = base / "application"
    for name in NAMES:
        (application / name).mkdir(parents=True)
        (application / name / "__init__.py").write_text('OWNER = "application"\n', encoding="utf-8")
    (application / "handlers.py").write_text(HANDLERS, encoding="utf-8")
    return Installed(wheel, environment, application)


def test_the_wheel_adds_four_names_and_its_sql_stands_in_one_of_them(installed: Installed) -> None:
    with ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == TOP_LEVEL
    shipped = {name.removeprefix(FILES) for name in names if name.endswith(".sql")}
    checkout = {str(path.relative_to(ROOT / "sql")) for path in (ROOT / "sql").rglob("*.sql")}
    expected = {name for name in checkout if not name.startswith("examples/")}
    assert shipped == expected | {f"examples/{name}" for name in EXAMPLES}


def test_the_environment_has_three_commands_and_imports_our_packages_from_itself_alone(installed: Installed) -> None:
    programs = {path.name for path in (installed.environment / "bin").iterdir()}
    assert {name for name in programs if not name.lower().startswith(("python", "activate"))} == {
        "relay",
        "consumers",
        "writers",
    }
    program = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]))"
    python = installed.environment / "bin" / "python"
    found = subprocess.check_output([python, "-c", program, *TOP_LEVEL], cwd=installed.application, text=True).split()
    assert len(found) == len(TOP_LEVEL)
    assert all(Path(file).is_relative_to(installed.environment) for file in found), found


@pytest.mark.parametrize("name", ["relay", "consumers", "writers"])
def test_a_command_prints_its_help_beside_the_application(installed: Installed, name: str, tmp_path: Path) -> None:
    command = installed.start(name, "--help", directory=tmp_path)
    assert command.ended() == 0, command.tail()
    assert f"Usage: {name}" in command.stdout


def test_setup_reads_the_schema_that_the_wheel_ships(installed: Installed, isolated: Isolated, tmp_path: Path) -> None:
    settings = {"RELAY_DATABASE_URL": isolated.database_url, "RELAY_AMQP_URL": isolated.amqp_url}
    command = installed.start("relay", "setup", "--dry-run", directory=tmp_path, **settings)
    assert command.ended() == 0, command.tail()
    assert "pg_create_logical_replication_slot" in command.stdout


@pytest.fixture
def consumer(installed: Installed, isolated: Isolated, tmp_path: Path) -> Iterator[Command]:
    """Run the application's handlers."""
    settings = {
        "CONSUMERS_DATABASE_URL": isolated.database_url,
        "CONSUMERS_AMQP_URL": isolated.amqp_url,
        "CONSUMERS_EXCHANGE": isolated.name,
        "CONSUMERS_QUEUE": isolated.queue("tasks"),
        "CONSUMERS_HANDLERS": "handlers",
    }
    setup = installed.start(
        "relay",
        "setup",
        directory=tmp_path,
        RELAY_DATABASE_URL=isolated.database_url,
        RELAY_AMQP_URL=isolated.amqp_url,
        RELAY_SLOT=isolated.name,
        RELAY_EXCHANGE=isolated.name,
    )
    assert setup.ended() == 0, setup.tail()
    command = installed.start("consumers", "run", directory=tmp_path, **settings)
    yield command
    command.end()


def test_consumers_run_handlers_that_import_the_applications_packages(consumer: Command) -> None:
    assert consumer.logged("consuming")["types"] == ["ship"]
    assert consumer.terminate() == 0, consumer.tail()
    assert consumer.stdout.split() == ["application"] * len(NAMES)
