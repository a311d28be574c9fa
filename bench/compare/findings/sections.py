"""The report's sections in order: what each states, and its plots. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.compare.findings import correctness, edges, plates, when_to_poll, writers
from bench.compare.findings.finding import Finding
from bench.compare.findings.measures import STATED, Measure, Measured
from bench.compare.findings.plates import Plate
from bench.compare.findings.ranking import rank
from bench.compare.quantities import Group
from bench.compare.results import CONFIRMED

_HEADLINES = (f"{CONFIRMED} p50", f"{CONFIRMED} p99", "sustainable_rate", "drain_rate", "database_cpu", "wal_bytes")
"""What the summary states, each in the first phase that has it."""
POLLING = "When to poll"
PEERS = "Peers"
_COSTS: tuple[Group, ...] = ("database", "relay")


@dataclass(frozen=True, slots=True)
class Statement:
    """What is stated of one phase, or of one arm."""

    about: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the report."""

    heading: str
    statements: tuple[Statement, ...]
    plates: tuple[Plate, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return all its findings."""
        return tuple(finding for each in self.statements for finding in each.findings)


def sections(measured: Measured) -> list[Section]:
    """Return the sections that have something to say."""
    every = [
        Section("Summary", (Statement("", tuple(_summary(measured))),)),
        Section("Correctness", (Statement("", tuple(correctness.findings(measured))),), tuple(plates.counts(measured))),
        Section("Latency", _ranked(measured, _latencies(measured)), tuple(plates.latencies(measured))),
        Section("Throughput", _ranked(measured, _grouped(measured, "speed")), tuple(plates.speed(measured))),
        Section("What the writers pay", _writers(measured), tuple(plates.paid_by_writers(measured))),
        *(_cost(measured, group) for group in _COSTS),
        Section(
            "Outage and large transaction",
            _ranked(measured, _grouped(measured, "incident")),
            tuple(plates.incidents(measured)),
        ),
        Section(POLLING, tuple(Statement(arm, tuple(found)) for arm, found in when_to_poll.findings(measured).items())),
        Section(PEERS, tuple(Statement(arm, tuple(found)) for arm, found in edges.findings(measured).items())),
    ]
    return [section for section in every if section.heading == POLLING or section.findings or section.plates]


def stated(found: Iterable[Section]) -> list[Finding]:
    """Return the findings of all sections."""
    return [finding for section in found for finding in section.findings]


def _summary(measured: Measured) -> Iterator[Finding]:
    yield from correctness.findings(measured)
    for name in _HEADLINES:
        measure = next((each for each in measured.measures if each.name == name), None)
        ranking = rank(measured, measure) if measure else None
        if ranking and measure:
            finding = ranking.finding()
            yield Finding(f"{finding.text} ({measure.phase}.)", finding.figures, finding.orders)


def _cost(measured: Measured, group: Group) -> Section:
    found = plates.bars(measured, group, ("load", "drain", "idle", "outage", "large"))
    return Section(f"What the {group} pays", _ranked(measured, _grouped(measured, group)), tuple(found))


def _latencies(measured: Measured) -> list[Measure]:
    return [
        each
        for each in measured.measures
        if each.group is None
        and each.name.split(" ")[1] in STATED
        and measured.phases[each.phase].kind == "load"
    ]  # fmt: skip


def _grouped(measured: Measured, group: Group) -> list[Measure]:
    return [each for each in measured.measures if each.group == group]


def _ranked(measured: Measured, measures: Sequence[Measure]) -> tuple[Statement, ...]:
    found: dict[str, list[Finding]] = {}
    for measure in measures:
        if ranking := rank(measured, measure):
            found.setdefault(measure.phase, []).append(ranking.finding())
    return tuple(Statement(phase, tuple(each)) for phase, each in found.items())


def _writers(measured: Measured) -> tuple[Statement, ...]:
    found: dict[str, list[Finding]] = {}
    for measure in _grouped(measured, "writers"):
        if finding := writers.finding(measured, measure):
            found.setdefault(measure.phase, []).append(finding)
    return tuple(Statement(phase, tuple(each)) for phase, each in found.items())
