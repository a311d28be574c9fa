"""The command `bench peers`: its options, and no logic of its own."""

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import sandbox
from bench.compare import running
from bench.compare.keeping import Kept
from bench.compare.peers import every, keeping
from bench.compare.peers.running import OURS, collected, installed, jobs, measure
from bench.compare.planning.plan import Asked
from bench.compare.progress import shown
from bench.report import surroundings
from bench.running import console

_PLACES = Path("comparisons")
_BESIDE = (*OURS, "no relay")
"""The arms of a comparison that is made for peers only."""
_QUICK_REPETITIONS = 2


def peers(
    *,
    peer: Annotated[
        list[str] | None, typer.Option("--peer", help="Only peers with this in their name; can be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory of a comparison, which gets the peers' runs; or a new one.")
    ] = None,
    repetitions: Annotated[int | None, typer.Option(min=1, help="Number of runs of each peer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draws order and workload; drawn itself, unless given.")] = None,
    quick: Annotated[
        bool | None, typer.Option("--quick/--full", help="Some 20 minutes, or hours.", show_default="quick")
    ] = None,
) -> None:
    """Compare other relays and table queues with ours: the same workload, and what breaks them.

    They are installed below --out, from their registries. With the directory of a comparison, that one's workload and
    sizes are used, and its report has the peers too. Ctrl-C reports what is there, and --out DIR goes on.
    """
    from bench.compare.reporting.terminal import show  # noqa: PLC0415 - no other command needs matplotlib
    from bench.compare.reporting.writing import write  # noqa: PLC0415 - the same

    chosen = every.chosen(peer or ())
    now = datetime.now(UTC).replace(microsecond=0)
    kept = Kept(out or _PLACES / f"{now:%Y%m%d-%H%M%S}")
    asked = Asked(quick=quick, seed=seed)
    if kept.plan() is None:
        quick = quick is not False
        asked = Asked(
            quick=quick, seed=seed, arms=_BESIDE, repetitions=repetitions or (_QUICK_REPETITIONS if quick else None)
        )
    plan = kept.begun(
        asked,
        drawn=random.SystemRandom().randrange(1_000_000),
        started_at=now.isoformat(),
        load_before=surroundings.load_before(),
    )
    wanted = repetitions or plan.repetitions
    screen = console()
    screen.print(f"Installing {', '.join(each.arm.name for each in chosen)}, unless they are there", highlight=False)
    todo = jobs(plan, installed(kept, chosen, kept.place / "peers"), wanted)
    keeping.note(
        kept, tuple(each.arm for each in chosen), wanted, tuple(job.way.arm.name for job in todo if job.part)
    )  # fmt: skip
    with sandbox.start() as box:
        about = running.look(box, plan)
        with shown(screen) as observe:

            def make() -> bool:
                beside = plan.arms != _BESIDE or running.compare(box, kept, plan, observe)
                return beside and measure(box, kept, plan, todo, observe)

            ended = running.ended(make)
    found = collected(kept, plan, about, todo, ended)
    report = write(found, kept.place / "report")
    show(found, screen)
    screen.print(f"The report: {report}", highlight=False, soft_wrap=True)
    if ended == "interrupted":
        raise KeyboardInterrupt
