"""Where a command's process begins: Ctrl-C ends it without a traceback at any time."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import version

import pytest

COMMANDS = {
    "relay": "relay.operating.cli",
    "consumers": "consumers.operating.cli",
    "writers": "writers.cli",
    "sandbox": "sandbox.cli",
    "bench": "bench.cli",
}

# Runs the installed command `name`, and interrupts it as soon as it begins to import `module`.
INTERRUPTED = """
import os, signal, sys
from outboxkit.process import entry

class Interrupt:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == module:
            sys.meta_path.remove(Interrupt)
            os.kill(os.getpid(), signal.SIGINT)

name, command, module, disposition = sys.argv[1:]
signal.signal(signal.SIGINT, getattr(signal, disposition))
sys.meta_path.insert(0, Interrupt)
sys.argv = [name, "--help"]
entry.run(command)
"""


def interrupted(name: str, module: str, disposition: str = "default_int_handler") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INTERRUPTED, name, COMMANDS[name], module, disposition],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", ["{}", "typer", "pydantic"])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupt_while_a_command_is_imported_ends_it_with_130_and_no_output(name: str, module: str) -> None:
    ended = interrupted(name, module.format(COMMANDS[name]))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_command_whose_shell_ignores_interrupts_ignores_them() -> None:
    ended = interrupted("relay", "typer", "SIG_IGN")
    assert ended.returncode == 0
    assert "Usage: relay" in ended.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_its_version(name: str) -> None:
    imports = "import sys; from outboxkit.process import entry"
    program = f"{imports}; sys.argv = [{name!r}, '--version']; entry.run({COMMANDS[name]!r})"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == f"{name} {version('outbox-relay')}\n"


@pytest.mark.parametrize("name", ["relay", "consumers"])
def test_no_command_imports_what_only_run_needs(name: str) -> None:
    program = (
        f"import {COMMANDS[name]}, sys; sys.exit(bool({{'uvicorn', 'starlette', '{name}.app'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


WRITES = """
import sys, types
from outboxkit.process import entry
command = types.ModuleType("command")
command.main = lambda: print("\\u2192 \\ud800")
sys.modules["command"] = command
entry.run("command")
"""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_any_text_is_written_whatever_the_encoding_of_standard_output(encoding: str) -> None:
    variables = {**os.environ, "PYTHONIOENCODING": encoding}
    ended = subprocess.run([sys.executable, "-c", WRITES], capture_output=True, env=variables, check=False)

    arrow = "\u2192".encode() if encoding == "utf-8" else rb"\u2192"
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, arrow + rb" \ud800" + b"\n", b"")


def test_a_closed_standard_output_is_no_error() -> None:
    program = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(WRITES)} >&-"
    ended = subprocess.run(["/bin/sh", "-c", program], capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")
