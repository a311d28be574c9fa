"""`make matrix`: the tests that use servers, in containers of several releases of Debian with their own servers.

One release after the other, since two would share this machine's processors. The images stay, so that the next run
builds only what has changed.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from outboxkit.process import commands
from tests.matrix import results, table
from tests.matrix.engine import RESULTS, Engine

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

RELEASES = ("bookworm", "trixie", "forky")
_TESTS = (
    # Verbose: a run takes half an hour, and its log shows at once which test has failed.
    *(".venv/bin/pytest", "--verbose", "--numprocesses=2", "--dist=worksteal", f"--junitxml={RESULTS}"),
    *(f"tests/{suite}" for suite in results.SUITES),
)
_console = Console(highlight=False, soft_wrap=True)


@app.command(context_settings={"allow_interspersed_args": False})
def matrix(
    words: Annotated[
        list[str] | None, typer.Argument(help="A command to run in each release instead of the tests, after --.")
    ] = None,
    *,
    release: Annotated[list[str] | None, typer.Option(help=f"Only this one of: {', '.join(RELEASES)}.")] = None,
    base: Annotated[str, typer.Option(help="The image that a release begins with.")] = "debian:{release}-slim",
    engine: Annotated[str, typer.Option(help="The command of the engine.")] = "docker",
    logs: Annotated[Path | None, typer.Option(help="Where the logs go; a new folder, unless given.")] = None,
) -> None:
    """Run the tests that use servers in containers of several releases, and print a table.

    Fails when a test fails anywhere. Every release has its own versions of
    PostgreSQL, wal2json, RabbitMQ and Python.
    """
    chosen = release or list(RELEASES)
    if unknown := [each for each in chosen if each not in RELEASES]:
        raise typer.BadParameter(f"no such release: {', '.join(unknown)}; there are: {', '.join(RELEASES)}")
    if "{release}" not in base and len(chosen) > 1:
        raise typer.BadParameter("write {release} into --base where a release's name goes, or choose one release")
    directory = logs or Path(tempfile.mkdtemp(prefix="matrix-"))
    directory.mkdir(parents=True, exist_ok=True)
    containers = Engine(engine, directory)
    images = {each: _built(containers, each, base.replace("{release}", each)) for each in chosen}
    passed = _run(containers, images, words) if words else _tested(containers, images)
    raise typer.Exit(0 if passed else 1)


def _built(containers: Engine, release: str, base: str) -> str:
    with _console.status(f"building the image of {release}"):
        return containers.build(release, base=base)


def _run(containers: Engine, images: dict[str, str], words: list[str]) -> bool:
    """Run `words` in each image; return whether each run ended with exit code 0."""
    codes: list[int] = []
    for release, image in images.items():
        _console.print(f"--- {release}", style="bold")
        with containers.ran(image, words, None) as (code, _):
            codes.append(code)
    return not any(codes)


def _tested(containers: Engine, images: dict[str, str]) -> bool:
    """Run the tests in each image, and print the table; return whether all passed."""
    rows: list[tuple[str, ...]] = []
    failed: list[str] = []
    for release, image in images.items():
        began, log = time.monotonic(), containers.log(release, "tests")
        with _console.status(f"testing in {release}"), containers.ran(image, _TESTS, log) as (code, container):
            junit = container.results()
        cases = results.cases(junit) if junit else []
        versions = results.versions(containers.packages(image))
        rows.append(table.row(release, versions, results.counted(cases), seconds=time.monotonic() - began))
        failed += [f"{release}: {case.name}" for case in cases if not case.passed]
        if code != 0:
            failed.append(f"{release}: pytest ended with exit code {code}; see {log}")
    for line in table.lines(rows):
        _console.print(line, markup=False)
    for line in failed:
        _console.print(line, style="red", markup=False)
    return not failed


if __name__ == "__main__":
    commands.run(app, name="matrix")
