"""The command `bench tasks`: its options, and no logic."""

import random
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from bench.measures.tasks import applied, arms, backlog, claiming, peers, soak
from bench.running import Json, measuring

app = typer.Typer(help="Measure the consumers with tasks that do nothing, and soak them with tasks that fail and hang.")


class Part(StrEnum):
    """A part of `bench tasks`."""

    BACKLOG = "backlog"
    APPLIED = "applied"
    CLAIMING = "claiming"


_PARTS = list(Part)
_RATES = [100, 500]
_ROWS = [1_000, 1_000_000]
_WINDOW = 1000


@app.callback(invoke_without_command=True)
def measure_tasks(  # noqa: PLR0913 - one parameter for each option
    context: typer.Context,
    *,
    tasks: Annotated[int, typer.Option(min=100, help="Number of tasks of each backlog.")] = 20_000,
    runs: Annotated[int, typer.Option(min=1, help="Number of runs of each, in turns.")] = 3,
    arm: Annotated[
        list[str] | None, typer.Option("--arm", help="Only this arm; a part of its name; repeatable.")
    ] = None,
    with_peers: Annotated[
        bool, typer.Option("--peers", help="Also install Procrastinate and graphile-worker, and run them in turns.")
    ] = False,
    rate: Annotated[list[int], typer.Option("--rate", min=1, help="Tasks per second; can be repeated.")] = _RATES,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds that each even load lasts.")] = 30,
    rows: Annotated[list[int], typer.Option("--rows", min=1000, help="Tasks in a table; can be repeated.")] = _ROWS,
    part: Annotated[list[Part], typer.Option("--part", help="Only this part; can be repeated.")] = _PARTS,
    to: Json = None,
) -> None:
    """Measure tasks that do nothing: rate, CPU and WAL with a backlog; latency; claims in a large table."""
    if context.invoked_subcommand is not None:
        return
    chosen = [each for each in arms.OURS if arm is None or any(word in each.name for word in arm)]
    if not chosen:
        names = ", ".join(repr(each.name) for each in arms.OURS)
        raise typer.BadParameter(f"no arm has that in its name; the arms are {names}", param_hint="--arm")
    progress = Console(stderr=True, highlight=False)
    with measuring(to, _WINDOW) as (box, found):
        if Part.BACKLOG in part:
            if with_peers:
                progress.print("installing the peers ...")
                chosen += peers.install(box.directory / "peers")
            found.tasks += backlog.compare(box, arms=chosen, tasks=tasks, runs=runs, window=_WINDOW, say=progress.print)
        if Part.APPLIED in part:
            progress.print(f"latency at {', '.join(map(str, rate))} tasks/s, {seconds} s each ...")
            found.applied += applied.measure(box, rates=rate, seconds=seconds, window=_WINDOW)
        if Part.CLAIMING in part:
            progress.print(f"claims in tables of {', '.join(f'{each:,}' for each in rows)} tasks ...")
            found.claiming += claiming.measure(box, rows=rows, window=_WINDOW)


@app.command("soak")
def soak_tasks(
    *,
    tasks: Annotated[int, typer.Option(min=100, help="Number of tasks.")] = 100_000,
    seed: Annotated[int | None, typer.Option(help="Draws what fails, hangs and stops; drawn, unless given.")] = None,
    to: Json = None,
) -> None:
    """Run tasks of which some fail, hang and are cancelled, while consumers are stopped for longer than a lease.

    It fails if a task ran twice at one version, or is stuck at the end.
    """
    drawn = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    Console(stderr=True, highlight=False).print(f"{tasks:,} tasks, seed {drawn} ...")
    with measuring(to, _WINDOW) as (box, found):
        found.soak.append(soak.soak(box, tasks=tasks, seed=drawn, window=_WINDOW))
