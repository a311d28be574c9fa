"""The plots of the report: which there are, and the finding that each one's title states. Pure; plots.py draws them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.compare.findings import correctness, writers
from bench.compare.findings.measures import HOPS, SERIES, Measure, Measured
from bench.compare.findings.phrasing import capital
from bench.compare.findings.ranking import rank
from bench.compare.findings.statistics import CONFIDENCE
from bench.compare.quantities import Group
from bench.compare.results import LAG, Kind

_INTERVALS = (
    f"Bars are medians of the repetitions, lines their {CONFIDENCE} % intervals (bootstrap of the arm's own "
    "repetitions, or of all arms' relative deviations, whichever is wider). An arm marked * missed events."
)
_METHODS: Mapping[Group, str] = {
    "speed": "A drain's rate is that between the first confirm and the last",
    "database": "CPU of all Postgres processes from the operating system's accounting, all else from its statistics",
    "relay": "CPU and resident memory of the relay's processes, from the operating system's accounting",
    "incident": "Lag is the age of the oldest event that is not confirmed; an arm has caught up when it is as before",
}
_TITLED = "p50"
_PANELS = 9


@dataclass(frozen=True, slots=True)
class Curves:
    """Latencies by their share, one line for each arm."""

    phase: str
    hop: str


@dataclass(frozen=True, slots=True)
class Bars:
    """Estimates with their intervals, one panel for each measure."""

    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A series over time, one panel for each arm."""

    phase: str
    series: str


@dataclass(frozen=True, slots=True)
class Rates:
    """The lag at each rate that was tried, one panel for each arm."""

    phase: str


@dataclass(frozen=True, slots=True)
class Counts:
    """The table of what was missed, doubled and reordered."""


@dataclass(frozen=True, slots=True)
class Plate:
    """One plot."""

    name: str
    """Of its files."""
    title: str
    caption: str
    shows: Curves | Bars | Grid | Rates | Counts


def counts(measured: Measured) -> Iterator[Plate]:
    """Yield the table of correctness."""
    if correctness.counted(measured):
        yield Plate(
            "correctness",
            correctness.title(measured),
            "Every committed event was compared with what a consumer received, in all phases and repetitions together. "
            "Reordered: a first arrival after one of the same aggregate that was committed later. Duplicates carry the "
            "same message id and break no promise.",
            Counts(),
        )


def latencies(measured: Measured) -> Iterator[Plate]:
    """Yield a plot for each load and each of the two latencies."""
    for place, phase in enumerate(measured.named("load")):
        for hop, what in HOPS.items():
            measure = measured.measure(phase, f"{hop} {_TITLED}")
            if measure is None:
                continue
            yield Plate(
                f"latency-{place + 1}-{hop}",
                _title(measured, [measure]),
                f"Cumulative distribution of {what} under an open load: {_told(measured, phase)}. The share of events "
                "is on the horizontal axis, stretched towards the slow ones. Time counts from the moment at which the "
                "schedule wanted the commit, so a writer that was held up hides nothing. All repetitions together.",
                Curves(phase, hop),
            )


def speed(measured: Measured) -> Iterator[Plate]:
    """Yield the plots of throughput."""
    for phase in measured.named("rates"):
        measure = measured.measure(phase, "sustainable_rate")
        if any(part.steps for arm in measured.arms for part in measured.parts(arm, phase)):
            yield Plate(
                f"throughput-{_slug(phase)}",
                _title(measured, [measure] if measure else []),
                "Lag at the end of each rate that was offered, at the rate that was written. Filled: the lag stayed "
                "bounded. Hollow: it grew. The sustainable rate is the highest at which it stayed bounded; "
                "grey points are the other arms'.",
                Rates(phase),
            )
    yield from bars(measured, "speed", ("drain", "rates"))


def paid_by_writers(measured: Measured) -> Iterator[Plate]:
    """Yield the plots of what the writers pay."""
    for place, (phase, measures) in enumerate(_measures(measured, "writers", ("load", "drain"))):
        title = f"{writers.title(measured, measures)} ({phase})"
        told = _told(measured, phase)
        caption = f"Writers at a load with each arm, and with no relay at all: {told}. {_INTERVALS}"
        yield Plate(f"writers-{place + 1}", title, caption, Bars(measures))


def bars(measured: Measured, group: Group, kinds: Sequence[Kind]) -> Iterator[Plate]:
    """Yield a plot for each phase of `kinds` with measures of a group."""
    for place, (phase, measures) in enumerate(_measures(measured, group, kinds)):
        caption = f"{capital(_told(measured, phase))}. {_METHODS[group]}. {_INTERVALS}"
        title = _title(measured, measures)
        yield Plate(f"{group}-{place + 1}", title, caption, Bars(measures))


def incidents(measured: Measured) -> Iterator[Plate]:
    """Yield the plots of the broker's outage and of the large transaction, and of whatever else has a series."""
    for phase in (*measured.named("outage"), *measured.named("large"), *measured.named("load")):
        for series, what in SERIES.items():
            measure = measured.measure(phase, series)
            if measure is not None:
                first = measured.measure(phase, "catch_up") if series == LAG else None
                yield Plate(
                    f"{_slug(series)}-{_slug(phase)}",
                    _title(measured, [first, measure] if first else [measure]),
                    f"{capital(what)} over time: {_told(measured, phase)}. Each panel has one arm in all its "
                    "repetitions and the others in grey; an arm of more than three times the median is cut off. "
                    f"Shaded: {_marks(measured, phase)}.",
                    Grid(phase, series),
                )
    yield from bars(measured, "incident", ("outage", "large"))


def _measures(
    measured: Measured, group: Group, kinds: Sequence[Kind]
) -> Iterator[tuple[str, tuple[Measure, ...]]]:  # fmt: skip
    for phase, part in measured.phases.items():
        measures = tuple(each for each in measured.measures if each.phase == phase and each.group == group)
        if part.kind in kinds and measures:
            for start in range(0, len(measures), _PANELS):
                yield phase, measures[start : start + _PANELS]


def _title(measured: Measured, measures: Sequence[Measure]) -> str:
    """Return the finding of the first measure with a difference; of the first where no measure has one."""
    rankings = [ranking for each in measures if (ranking := rank(measured, each))]
    if not rankings:
        return "One arm, so nothing is compared"
    return next((each for each in rankings if each.worse), rankings[0]).title()


def _told(measured: Measured, phase: str) -> str:
    settings = "; ".join(f"{name} {value}" for name, value in measured.phases[phase].settings.items())
    return f"{phase} ({settings})" if settings else phase


def _marks(measured: Measured, phase: str) -> str:
    marks = sorted(measured.phases[phase].marks.items(), key=lambda mark: mark[1])
    return " to ".join(name for name, _ in (marks[0], marks[-1])) if len(marks) > 1 else "nothing"


def _slug(text: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())
