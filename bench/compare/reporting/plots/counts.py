"""Draws the table of correctness as an image."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.findings import correctness
from bench.compare.findings.measures import Measured
from bench.compare.reporting.plots.style import DARK, FAULT, titled

_COLUMNS = ("arm", "committed", "missed", "published twice", "reordered", "")
_PLACES = (0.0, 0.42, 0.53, 0.68, 0.8, 0.83)
_LINE = 0.34
"""Inches."""


def draw(measured: Measured, title: str) -> Figure:
    """Draw what was missed, doubled and reordered, by arm."""
    found = correctness.counted(measured)
    figure, top = titled(title, _LINE * (len(found) + 1.5))
    axes = figure.add_axes((0.012, 0.0, 0.97, top))
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(len(found) + 0.5, -1))
    _row(axes, -0.5, _COLUMNS, [False] * len(_COLUMNS), weight="bold")
    axes.axhline(0, color="#888888", linewidth=1)
    for place, each in enumerate(found):
        counts = each.counts
        numbers = (counts.committed, counts.missed, counts.duplicated, counts.reordered)
        cells = (each.arm, *(f"{number:,}" for number in numbers), correctness.verdict(each))
        bad = (False, False, counts.missed > 0, False, each.ordered and counts.reordered > 0, each.faulty)
        _row(axes, place + 0.5, cells, bad)
    return figure


def _row(axes: Axes, y: float, cells: Sequence[str], bad: Sequence[bool], *, weight: str = "normal") -> None:
    for place, (x, text, wrong) in enumerate(zip(_PLACES, cells, bad, strict=True)):
        side = "left" if place in {0, len(cells) - 1} else "right"
        axes.text(
            x, y, text, ha=side, va="center", color=FAULT if wrong else DARK, fontweight="bold" if wrong else weight
        )
