"""Installs the peers into a directory, by the ordinary package clients, in the versions that are pinned here.

They are no dependencies of the project. What they depend on themselves is pinned only where there is a lock file. Each
function returns the command line of a program, which takes what it does as one word more and reads its arguments from
standard input. What is installed there already, in this version, is used as it is: a mark is written last.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from outboxkit.errors import Problem

PROCRASTINATE = "3.10.0"
GRAPHILE_WORKER = "0.17.3"  # 0.18 needs Node 22
PG_TRANSACTIONAL_OUTBOX = "0.5.7"  # its lock file has the same
DEBEZIUM = "3.6.1"  # its pom.xml has the same
ENVIRONMENT = {"NO_LOG_SUCCESS": "1"}
"""Of the programs: graphile-worker writes no line for each job."""
_SECONDS = 600.0
_NODE, _MAVEN = "Node.js", "Maven and a JDK of Java 17 or newer"
_HERE = Path(__file__).parent


def procrastinate(directory: Path) -> list[str]:
    """Install Procrastinate below `directory`; raises Problem when a package cannot be had."""
    environment, mark = directory / "procrastinate", directory / f"procrastinate-{PROCRASTINATE}"
    python = str(environment / "bin" / "python")
    if not mark.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(environment)])
        words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([python, *words, f"procrastinate=={PROCRASTINATE}", "psycopg[binary]"])
        mark.touch()
    return [python, str(_HERE / "procrastinate_jobs.py")]


def graphile_worker(directory: Path) -> list[str]:
    """Install graphile-worker below `directory`; raises Problem when a package, or Node.js, cannot be had."""
    node, npm = (_program(name, "graphile-worker", _NODE) for name in ("node", "npm"))
    modules, mark = directory / "graphile", directory / f"graphile-{GRAPHILE_WORKER}"
    if not mark.exists():
        modules.mkdir(parents=True, exist_ok=True)
        words = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", str(modules)]
        _run([npm, *words, f"graphile-worker@{GRAPHILE_WORKER}"])
        mark.touch()
    program = shutil.copy(_HERE / "graphile.mjs", modules)  # Node looks for packages beside the program
    return [node, str(program)]


def pg_transactional_outbox(directory: Path) -> list[str]:
    """Install pg-transactional-outbox, and all that it depends on, in the versions of its lock file.

    Raises Problem when a package, or Node.js, cannot be had.
    """
    node, npm = (_program(name, "pg-transactional-outbox", _NODE) for name in ("node", "npm"))
    modules = directory / "pg-transactional-outbox"
    mark = directory / f"pg-transactional-outbox-{PG_TRANSACTIONAL_OUTBOX}"
    shutil.copytree(_HERE / "pg_transactional_outbox", modules, dirs_exist_ok=True)
    if not mark.exists():
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(modules)])
        mark.touch()
    return [node, str(modules / "relay.mjs")]


def debezium(directory: Path) -> list[str]:
    """Install Debezium's engine and connector, and compile the program around them.

    Raises Problem when a package, Maven, or a JDK cannot be had.
    """
    java, maven = (_program(name, "Debezium", _MAVEN) for name in ("java", "mvn"))
    source, project = _HERE / "debezium", directory / "debezium"
    mark = directory / f"debezium-{_digest(source)}"  # a program that was changed is compiled again
    if not mark.exists():
        shutil.copytree(source, project, dirs_exist_ok=True)
        goals = ["compile", "dependency:copy-dependencies"]
        _run([maven, "--quiet", "--batch-mode", "--file", str(project / "pom.xml"), *goals])
        mark.touch()
    classes, packages = project / "target" / "classes", project / "target" / "dependency"
    options = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [java, *options, "-cp", f"{classes}:{packages}/*", "peer.Relay"]


def _digest(source: Path) -> str:
    texts = (path.read_bytes() for path in sorted(source.rglob("*")) if path.is_file())
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def _program(name: str, peer: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Problem(
            f"{peer} needs {name}, and it is not installed", remedy=f"install {package}, or leave out this peer"
        )
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
        remedy="the packages come from PyPI and npm, Debezium's from Maven Central: give this machine access to "
        "them, or leave out this peer",
    )
