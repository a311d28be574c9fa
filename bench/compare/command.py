"""The command `bench compare`: its options, and no logic of its own."""

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import sandbox
from bench.compare import arms, results, running
from bench.compare.keeping import Kept
from bench.compare.planning import workload
from bench.compare.planning.plan import Asked
from bench.compare.progress import shown
from bench.report import surroundings
from bench.running import console

_PLACES = Path("comparisons")


def compare(  # noqa: PLR0913 - one parameter for each option
    *,
    quick: Annotated[
        bool | None, typer.Option("--quick/--full", help="10 minutes at most on two cores, or 90.", show_default="full")
    ] = None,
    load: Annotated[
        Path | None, typer.Option("--workload", help="A TOML file with a table `load` for each load.")
    ] = None,
    rate: Annotated[
        list[float] | None,
        typer.Option("--rate", min=1, help="Events per second that are tried for the highest rate; can be repeated."),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option("--arm", help="Only arms with this in their name; can be repeated.")
    ] = None,
    repetitions: Annotated[int | None, typer.Option(min=1, help="Number of runs of each arm.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draws order and workload; drawn itself, unless given.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for runs and report; with runs in it, the comparison goes on.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="The results.json of an earlier comparison.")] = None,
) -> None:
    """Compare the WAL with the ways of polling, and with two relays as people write them by hand.

    Ctrl-C reports what is there, and so does the time limit; --out DIR goes on.

    The servers are private ones, or those of SANDBOX_DATABASE_URL and
    SANDBOX_AMQP_URL. Then CPU of Postgres is not known, and RabbitMQ is not
    stopped; the report says so for each figure.
    """
    from bench.compare.reporting.terminal import show  # noqa: PLC0415 - no other command needs matplotlib
    from bench.compare.reporting.writing import compared, write  # noqa: PLC0415 - the same

    earlier = None if against is None else results.read(against)
    asked = Asked(
        quick=quick,
        seed=seed,
        repetitions=repetitions,
        arms=None if not arm else tuple(way.arm.name for way in arms.chosen(arm)),
        workload=None if load is None else workload.read(load),
        rates=None if not rate else tuple(sorted(set(rate))),
    )
    now = datetime.now(UTC).replace(microsecond=0)
    kept = Kept(out or _PLACES / f"{now:%Y%m%d-%H%M%S}")
    plan = kept.begun(
        asked,
        drawn=random.SystemRandom().randrange(1_000_000),
        started_at=now.isoformat(),
        load_before=surroundings.load_before(),
    )
    screen = console()
    with sandbox.start() as box:
        about = running.look(box, plan)
        with shown(screen) as observe:
            ended = running.ended(lambda: running.compare(box, kept, plan, observe))
    found = running.collected(kept, plan, about, ended)
    report = write(found, kept.place / "report", earlier=earlier)
    show(found, screen, compared(found, earlier))
    screen.print(f"The report: {report}", highlight=False, soft_wrap=True)
    if ended == "interrupted":
        raise KeyboardInterrupt
