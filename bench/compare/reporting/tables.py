"""The tables of a report. Pure."""

from collections.abc import Iterator

from bench.compare.findings import correctness, when_to_poll
from bench.compare.findings.edges import Row, rows
from bench.compare.findings.measures import Measured
from bench.compare.findings.phrasing import capital, listed, quantity, stated
from bench.compare.reporting.blocks import Block, Heading, Paragraph, Table


def counts(measured: Measured) -> Table:
    """Return what each arm missed, doubled and reordered."""
    rows = [
        (
            each.arm,
            *(f"{n:,}" for n in (each.counts.committed, each.counts.missed, each.counts.duplicated)),
            f"{each.counts.reordered:,}",
            correctness.verdict(each),
        )
        for each in correctness.counted(measured)
    ]
    return Table(("arm", "committed", "missed", "published twice", "reordered", "verdict"), tuple(rows))


def polling(measured: Measured) -> Iterator[Block]:
    """Yield which arms are in time for each time that an event may be late by."""
    budgets = when_to_poll.budgets(measured)
    if not budgets:
        yield Paragraph("Nothing is compared: no arm that reads the WAL or polls was measured at a load.")
        return
    yield Paragraph(
        "Which arms confirm 99 % of the events of every load in time (by the upper end of the interval), and which "
        "of these use the least CPU of relay and Postgres in a minute without events. Left out are arms that missed "
        "events; and loads at which the writers alone take more than half of that time, with no relay: they wait for "
        "each other or for the processor, and an event is as late as its commit."
    )
    rows = []
    for each in budgets:
        unknown = "not measured more than once" if each.within else "none"
        rows.append((
            quantity(each.seconds, "s"), listed(each.within) or "none", listed(each.cheapest) or unknown,
            listed(each.left_out) or "none",
        ))  # fmt: skip
    yield Table(("an event may be late by", "in time", "least idle CPU", "loads left out"), tuple(rows), words=True)


EDGES = ("arm", "edge", "committed", "lost", "kept", "redriven", "twice, same id", "twice, other id", "restarts")


def edges(measured: Measured) -> Iterator[Block]:
    """Yield what became of events while something was broken."""
    found = rows(measured)
    if found:
        yield Paragraph(
            "Something is broken, and whatever ends is started again after a second. Lost: never arrived, and not kept "
            "anywhere. Kept: put away, or still waiting, when nothing came any more; redriven: of these, what arrived "
            "when an operator published it again. Twice, same id: a consumer knows it by its message id; other id: it "
            "came without one, or under a new one."
        )
        yield Table(EDGES, tuple(map(edge, found)))


def edge(row: Row) -> tuple[str, ...]:
    """Return the cells of one arm in one edge."""
    found = row.edge
    if found is None:
        return (row.arm, row.name, *("-",) * (len(EDGES) - 3), "not measured")
    numbers = (
        found.committed, found.lost, found.kept_aside, found.redriven, found.duplicated, found.duplicated_otherwise,
        found.restarts,
    )  # fmt: skip
    return (row.arm, row.name, *(f"{number:,}" for number in numbers))


def figures(measured: Measured) -> Iterator[Block]:
    """Yield all figures with their intervals, phase by phase."""
    yield Heading("All figures")
    for phase in measured.phases:
        rows = []
        there = [measure for measure in measured.measures if measure.phase == phase]
        arms = [arm for arm in measured.arms if any(arm in measured.estimates(measure) for measure in there)]
        for measure in there:
            found = measured.estimates(measure)
            cells = (stated(found[arm], measure.unit) if arm in found else "" for arm in arms)
            rows.append((capital(measure.what), *cells))
        if rows:
            yield Heading(phase, 3)
            yield Table(("", *arms), tuple(rows))


def often(measured: Measured) -> Iterator[Block]:
    """Yield how many repetitions each part was measured in."""
    rows = [
        (phase, *(str(len(measured.parts(arm, phase)) or "") for arm in measured.arms)) for phase in measured.phases
    ]  # fmt: skip
    if rows:
        yield Heading("How often each part was measured", 3)
        yield Table(("", *measured.arms), tuple(rows))
