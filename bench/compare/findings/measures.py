"""Everything that was measured of several arms, as estimates: latencies by quantile, and figures. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from bench.compare.distribution import Distribution, merged
from bench.compare.findings.statistics import Estimate, estimates
from bench.compare.quantities import BY_NAME, LATENCY_GRAIN, SECONDS, Better, Group, of
from bench.compare.results import APPLIED, CONFIRMED, LAG, RETAINED, TABLE, Arm, Kind, Phase, Results

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "maximum": 1.0}
STATED = ("p50", "p99")
"""The quantiles of which differences are stated: those beyond have few values."""
HOPS = {CONFIRMED: "commit to confirmed", APPLIED: "commit to applied"}
SERIES = {LAG: "lag", RETAINED: "WAL kept", TABLE: "size of the outbox"}
_PLACES = {name: place for place, name in enumerate(BY_NAME)}


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity in one phase."""

    phase: str
    name: str
    """Of a quantity, or a hop with a quantile, such as `confirmed p99`."""
    what: str
    unit: str
    better: Better
    group: Group | None
    """None for a latency; "series" for the greatest value of a series."""
    grain: float = 0.0
    """What its measurement resolves."""

    def of(self, phase: Phase) -> float | None:
        """Return its value in one phase of a run; None where it was not measured."""
        if self.group == "series":
            series = phase.series.get(self.name)
            return max((value for _, value in series.points), default=None) if series else None
        if self.group is not None:
            figure = phase.figures.get(self.name)
            return figure.value if figure and figure.unit == self.unit else None
        hop, quantile = self.name.split(" ")
        distribution = phase.latencies.get(hop)
        return distribution.quantile(QUANTILES[quantile]) if distribution and distribution.bins else None


@dataclass(frozen=True)
class Measured:
    """Results, and what can be asked of them; nothing is computed twice."""

    results: Results
    _estimates: dict[Measure, dict[str, Estimate]] = field(default_factory=dict)

    @cached_property
    def arms(self) -> dict[str, Arm]:
        """All arms that were measured at least once, by name, in the report's order."""
        there = {run.arm for run in self.results.runs if run.phases}
        return {arm.name: arm for arm in self.results.arms if arm.name in there}

    @cached_property
    def phases(self) -> dict[str, Phase]:
        """The phases by name, each from the first run that has it."""
        found: dict[str, Phase] = {}
        for run in self.results.runs:
            for phase in run.phases:
                found.setdefault(phase.name, phase)
        return found

    @cached_property
    def measures(self) -> list[Measure]:
        """What was measured of at least one arm."""
        return [measure for measure in self._measures() if self.estimates(measure)]

    def named(self, kind: Kind) -> list[str]:
        """Return the names of the phases of a kind."""
        return [name for name, phase in self.phases.items() if phase.kind == kind]

    def measure(self, phase: str, name: str) -> Measure | None:
        """Return one measure; None where no arm has it."""
        return next((each for each in self.measures if (each.phase, each.name) == (phase, name)), None)

    def parts(self, arm: str, phase: str) -> list[Phase]:
        """Return a phase of each repetition of an arm, where it was measured."""
        return [
            part
            for run in sorted(self.results.runs, key=lambda run: run.repetition)
            for part in run.phases
            if run.arm == arm and part.name == phase and part.not_measured is None
        ]

    def estimates(self, measure: Measure) -> dict[str, Estimate]:
        """Return the estimate of each arm of which it was measured.

        Peers may vary more. They widen their own intervals and not ours, so adding them changes nothing of ours.
        """
        if measure not in self._estimates:
            found = {
                arm: [value for part in self.parts(arm, measure.phase) if (value := measure.of(part)) is not None]
                for arm in self.arms
            }
            own = {arm: values for arm, values in found.items() if self.arms[arm].family != "peer"}
            self._estimates[measure] = estimates(found, grain=measure.grain) | estimates(own, grain=measure.grain)
        return self._estimates[measure]

    def distribution(self, arm: str, phase: str, hop: str) -> Distribution:
        """Return the latencies of all repetitions together."""
        return merged([part.latencies[hop] for part in self.parts(arm, phase) if hop in part.latencies])

    def _measures(self) -> Iterator[Measure]:
        for phase in dict.fromkeys(part.name for run in self.results.runs for part in run.phases):
            parts = [part for run in self.results.runs for part in run.phases if part.name == phase]
            for hop, what in HOPS.items():
                if any(hop in part.latencies for part in parts):
                    for quantile in QUANTILES:
                        yield Measure(
                            phase, f"{hop} {quantile}", f"{what}, {quantile}", SECONDS, "lower", None, LATENCY_GRAIN
                        )
            there = {(name, figure.unit) for part in parts for name, figure in part.figures.items()}
            for name, unit in sorted(there, key=lambda each: (_PLACES.get(each[0], len(_PLACES)), each)):
                known = of(name, unit)
                yield Measure(phase, name, known.what, unit, known.better, known.group, known.grain)
            for name, what in SERIES.items():
                for unit in sorted({part.series[name].unit for part in parts if name in part.series}):
                    yield Measure(phase, name, f"greatest {what}", unit, "lower", "series")
