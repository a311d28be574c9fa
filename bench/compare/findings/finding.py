"""A finding: one sentence of the report, with the figures and the orderings that it states. Pure."""

from dataclasses import dataclass

from bench.compare.findings.measures import Measure
from bench.compare.findings.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Order:
    """That one arm is better than another, beyond what repetitions differ by."""

    measure: Measure
    better: str
    worse: str

    def reversed(self) -> "Order":
        """Return the contrary."""
        return Order(self.measure, self.worse, self.better)

    def __str__(self) -> str:
        return f"{self.measure.what} ({self.measure.phase}): {self.better} better than {self.worse}"


@dataclass(frozen=True, slots=True)
class Stated:
    """A figure that a sentence names."""

    arm: str
    measure: Measure
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and what it rests on."""

    text: str
    figures: tuple[Stated, ...] = ()
    orders: tuple[Order, ...] = ()
    fault: bool = False
    """Whether an arm broke its promise."""
