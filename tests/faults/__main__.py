"""`make faults`: the campaign. Each fault on real processes, with several seeds, and one line for its result.

A line: what was committed, applied (seen by an independent queue, or parked), delivered more than once, lost; the
seconds from healing until everything committed by then was confirmed; and, of a cluster, the longest time in which
RabbitMQ confirmed nothing. Of times, the median of the seeds and the longest.
"""

import json
import logging
import random
import shutil
import statistics
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console

import sandbox
from outboxkit.process import commands
from outboxkit.sql.apply import apply
from sandbox import Sandbox
from sandbox.machine import packages, programs
from tests.faults.catalogue import FAULTS
from tests.faults.judging import Verdict, judge
from tests.faults.run import Fault, running

# psycopg logs that a fault broke the writers' connections; that does not belong in the campaign's output.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_COLUMNS = "{:<52} {:>9} {:>8} {:>10} {:>5} {:>15} {:>15}  {}"
_HEADER = _COLUMNS.format("fault", "committed", "applied", "duplicates", "lost", "recovered s", "no confirms s", "")
_console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Outcome:
    """One run: the oracles' verdict, or the error that ended the run before it."""

    fault: str
    seed: int
    verdict: Verdict | None
    broken: tuple[str, ...]
    logs: Path | None
    """Where the logs are; they are kept only if the run failed."""


@app.command()
def campaign(
    names: Annotated[list[str] | None, typer.Argument(help="Only faults whose names contain one of these.")] = None,
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each fault is run with.")] = 3,
    seed: Annotated[int | None, typer.Option(help="The first seed; drawn, unless given.")] = None,
    to: Annotated[Path | None, typer.Option("--json", help="Write every run's numbers to this file.")] = None,
) -> None:
    """Run the fault campaign on a private Postgres and RabbitMQ; fails when an oracle is broken."""
    chosen = [fault for fault in FAULTS if not names or any(name in fault.name for name in names)]
    if not chosen:
        raise typer.BadParameter(f"no such fault; there are: {', '.join(fault.name for fault in FAULTS)}")
    first = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    outcomes: list[Outcome] = []
    left_out = 0
    with sandbox.start(schema=_schema) as box:
        _console.print(f"{len(chosen)} faults, seeds {first} to {first + seeds - 1}")
        _console.print(_HEADER, style="bold")
        version = _version() if any(fault.since for fault in chosen) else 0
        for fault in chosen:
            if (lack := fault.lack(version)) is not None:
                _console.print(_COLUMNS.format(fault.name, *"------", lack))
                left_out += 1
                continue
            runs = [_run(box, fault, number) for number in range(first, first + min(seeds, fault.seeds or seeds))]
            outcomes += runs
            _console.print(_line(fault, runs))
            for line in _failures(runs):
                _console.print(line, style="red", markup=False)
    if to is not None:
        to.write_text(json.dumps([asdict(outcome) for outcome in outcomes], default=str, indent=1), encoding="utf-8")
    failed = {outcome.fault for outcome in outcomes if outcome.broken}
    tried = len(chosen) - left_out
    _console.print(f"{tried - len(failed)} of {tried} faults passed" + (f", {left_out} left out" if left_out else ""))
    raise typer.Exit(1 if failed else 0)


def _version() -> int:
    """Return the major version of the private servers that faults with a `since` start."""
    packages.require()
    found = programs.postgres()
    assert found is not None, "it is required"
    return found.major


def _run(box: Sandbox, fault: Fault, seed: int) -> Outcome:
    """Run one fault once; its logs are kept when it fails."""
    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    verdict: Verdict | None = None
    with _console.status(f"{fault.name}, seed {seed}"):
        try:
            with running(fault, box, directory, seed=seed) as run:
                fault.inject(run)
                verdict = judge(run, fault)
                broken = verdict.broken
        except Exception as error:  # noqa: BLE001 - any error is the result of this run, and the campaign continues
            (directory / "traceback").write_text(traceback.format_exc(), encoding="utf-8")
            where = traceback.extract_tb(error.__traceback__)[-1]
            broken = (f"{type(error).__name__}: {str(error) or where.line}".splitlines()[0],)
    if not broken:
        shutil.rmtree(directory)
    return Outcome(fault.name, seed, verdict, broken, directory if broken else None)


def _line(fault: Fault, runs: list[Outcome]) -> str:
    verdicts = [run.verdict for run in runs if run.verdict is not None]
    return _COLUMNS.format(
        fault.name,
        sum(verdict.committed for verdict in verdicts),
        sum(verdict.applied for verdict in verdicts),
        sum(verdict.duplicates for verdict in verdicts),
        sum(verdict.lost for verdict in verdicts),
        _times(verdict.recovered for verdict in verdicts),
        _times(verdict.stood_still for verdict in verdicts),
        "FAIL" if any(run.broken for run in runs) else "PASS",
    )


def _times(measured: Iterable[float | None]) -> str:
    seconds = [each for each in measured if each is not None]
    return f"{statistics.median(seconds):.1f} / {max(seconds):.1f}" if seconds else "-"


def _failures(runs: list[Outcome]) -> Iterator[str]:
    for run in runs:
        if run.broken:
            yield f"  {run.fault}, seed {run.seed}: {'; '.join(run.broken)}"
            yield f"""  logs: {run.logs}; again: make faults ARGS='"{run.fault}" --seed {run.seed} --seeds 1'"""


def _schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        apply(connection)


if __name__ == "__main__":
    commands.run(app, name="faults")
