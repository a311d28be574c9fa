"""Installs the peers into a directory, by the ordinary package clients, in the versions that are pinned here.

They are no dependencies of the project. What they depend on themselves is not pinned.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from outboxkit.errors import Problem

PROCRASTINATE = "3.10.0"
GRAPHILE_WORKER = "0.17.3"  # 0.18 needs Node 22
_SECONDS = 600.0
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Installed:
    """The command lines of the peers' programs; each reads its arguments from standard input."""

    procrastinate: list[str]
    graphile: list[str]


def install(directory: Path) -> Installed:
    """Install both peers below `directory`; raises Problem when a package, or a program for it, cannot be had."""
    node, npm = _program("node"), _program("npm")
    environment = directory / "procrastinate"
    _run([sys.executable, "-m", "venv", str(environment)])
    python = str(environment / "bin" / "python")
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([python, *words, f"procrastinate=={PROCRASTINATE}", "psycopg[binary]"])
    modules = directory / "graphile"
    modules.mkdir()
    words = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", str(modules)]
    _run([npm, *words, f"graphile-worker@{GRAPHILE_WORKER}"])
    program = shutil.copy(_HERE / "graphile.mjs", modules)  # Node looks for packages beside the program
    return Installed([python, str(_HERE / "procrastinate_jobs.py")], [node, str(program)])


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Problem(f"--peers needs {name}, and it is not installed", remedy="install Node.js, or leave out --peers")
    return found


def _run(words: list[str]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _failed(words, f"no end after {_SECONDS:g} s") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise _failed(words, next((line for line in lines if "error" in line.lower()), "no message"))


def _failed(words: list[str], reason: str) -> Problem:
    return Problem(
        f"a peer cannot be installed: `{Path(words[0]).name} {' '.join(words[1:])}`: {reason}",
        remedy="the packages come from PyPI and npm: give this machine access to them, or leave out --peers",
    )
