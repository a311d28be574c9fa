"""The begin and the end of a report: how it was measured, on what, and what was not measured. Pure."""

from collections.abc import Iterator, Mapping

from bench.compare.findings.phrasing import plural
from bench.compare.findings.statistics import CONFIDENCE, LEAST
from bench.compare.quantities import BY_NAME
from bench.compare.reporting.blocks import Block, Bullets, Heading, Paragraph, Table
from bench.compare.results import Results

_METHOD = f"""
Every arm runs through the same engine, publisher and broker, with the same seeded workload. Loads are open: a schedule
says when each transaction is to be committed, and latency counts from then, so a writer that is held up hides nothing.
Figures are medians of the repetitions with {CONFIDENCE} % intervals by the bootstrap: of the arm's own repetitions, or
of the relative deviations of all arms, whichever is wider. Arms that missed events are not compared: they are fast by
what they leave out.
"""


def begin(results: Results) -> Iterator[Block]:
    """Yield what was compared, and what was not measured."""
    about = results.surroundings
    form = "quick" if about.quick else "full"
    yield Paragraph(
        f"Begun {about.started_at}, {form} form, {plural(about.repetitions, 'repetition')} at most, in random order, "
        f"seed {about.seed}. A difference is stated only where the {CONFIDENCE} % intervals of two arms are apart and "
        f"their medians differ by {LEAST - 1:.0%} or more; otherwise no difference was seen."
    )
    if text := unfinished(results):
        yield Paragraph(text)
    if missing := not_measured(results):
        yield Paragraph("Not measured:")
        yield Bullets(tuple(missing))


def unfinished(results: Results) -> str | None:
    """Return why not all runs were made, and how to go on; None if all were made."""
    if results.complete:
        return None
    if (found := results.stopped) is None:
        return "Not all runs were made."
    made = f"{found.made:,} of {plural(found.planned, 'run')} were made. To go on: {found.go_on}"
    if found.reason == "earlier":
        return f"The comparison of the arms had ended before; {made}"
    if found.reason == "interrupted" or found.limit is None:
        return f"The comparison was interrupted; {made}"
    return f"The time limit of {plural(round(found.limit / 60), 'minute')} was reached; {made}"


def not_measured(results: Results) -> list[str]:
    """Return what has no figures, and why: runs, phases, and single figures of all arms together."""
    why = [(run.arm, run.not_measured) for run in results.runs]
    why += [(f"{run.arm}, {phase.name}", phase.not_measured) for run in results.runs for phase in run.phases]
    parts = [phase for run in results.runs for phase in run.phases]
    why += [(_named(name), text) for phase in parts for name, text in phase.unknown.items()]
    return list(dict.fromkeys(f"{what}: {text}" for what, text in why if text))


def _named(name: str) -> str:
    return BY_NAME[name].what if name in BY_NAME else name


def method(results: Results) -> Iterator[Block]:
    """Yield how it was measured, and on what."""
    yield Heading("Method and surroundings")
    yield Paragraph(" ".join(_METHOD.split()))
    about = results.surroundings
    groups = {
        "Machine": about.machine,
        "Versions": about.versions,
        "Settings": about.settings,
        "Workload": about.workload,
    }
    for heading, group in groups.items():
        if group:
            yield Heading(heading, 3)
            yield _pairs(group)
    arms = [
        (arm.name, ", ".join(f"{name}={value}" for name, value in arm.settings.items()))
        for arm in results.arms
        if arm.settings
    ]
    if arms:
        yield Heading("Settings of each arm", 3)
        yield Table(("arm", "settings"), tuple(arms), words=True)


def _pairs(group: Mapping[str, str]) -> Table:
    return Table(("", ""), tuple(group.items()), words=True)
