"""What became of events while something was broken: a row for each arm and edge, and a sentence for each peer. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.compare.findings.finding import Finding
from bench.compare.findings.measures import Measured
from bench.compare.findings.phrasing import listed, plural
from bench.compare.results import Edge


@dataclass(frozen=True, slots=True)
class Row:
    """One arm in one edge."""

    arm: str
    name: str
    """Of the edge."""
    edge: Edge | None
    not_measured: str
    """Why not; empty if it was."""


def rows(measured: Measured) -> list[Row]:
    """Return all edges, edge by edge, ours first."""
    found = [
        Row(run.arm, part.name, part.edge, part.not_measured or "")
        for run in measured.results.runs
        for part in run.phases
        if part.kind == "edge"
    ]
    places = {arm.name: place for place, arm in enumerate(measured.results.arms)}
    names = list(dict.fromkeys(row.name for row in found))
    return sorted(found, key=lambda row: (names.index(row.name), places.get(row.arm, -1)))


def findings(measured: Measured) -> dict[str, list[Finding]]:
    """Return the sentences about each peer, by its name."""
    there = rows(measured)
    found: dict[str, list[Finding]] = {}
    for arm in measured.results.arms:
        if arm.family == "peer":
            sentences = [Finding(arm.about)] if arm.about else []
            found[arm.name] = [*sentences, *_about([row for row in there if row.arm == arm.name])]
    return found


def _about(mine: list[Row]) -> Iterator[Finding]:
    edges = [(row.name, row.edge) for row in mine if row.edge is not None]
    lost = [f"{edge.lost:,} of {plural(edge.committed, 'event')} when {name}" for name, edge in edges if edge.lost]
    if lost:
        yield Finding(f"Lost: {listed(lost)}.", fault=True)
    elif edges:
        yield Finding(f"Nothing was lost when {listed([name for name, _ in edges])}.")
    twice = [
        f"{edge.duplicated_otherwise:,} when {name}" for name, edge in edges if edge.duplicated_otherwise
    ]  # fmt: skip
    if twice:
        yield Finding(
            f"Published again without a message id, or under a new one, so that no consumer knows it by that: "
            f"{listed(twice)}."
        )
    for row in mine:
        if row.not_measured:
            yield Finding(f"Not measured when {row.name}: {row.not_measured}.")
