"""Draws estimates as bars with intervals: one panel for each measure, one bar for each arm."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.compare.findings.correctness import missing
from bench.compare.findings.measures import Measure, Measured
from bench.compare.findings.phrasing import capital, quantity
from bench.compare.findings.statistics import Estimate
from bench.compare.reporting.plots.style import DARK, WIDTH, colours, titled, widest

_COLUMNS = 3
_BAR = 0.27
"""Inches of height."""
_HEADING = 0.5
_BEFORE = 0.2
"""Inches around the arms' names."""
_BESIDE = 1.5
"""The axis over the longest bar: the rest is for its figure."""


def draw(measured: Measured, title: str, measures: Sequence[Measure]) -> Figure:
    """Draw the bars of some measures."""
    found = [measured.estimates(measure) for measure in measures]
    arms = [arm for arm in measured.arms if any(arm in each for each in found)]
    columns = min(_COLUMNS, len(measures))
    rows = math.ceil(len(measures) / columns)
    figure, top = titled(title, rows * (_BAR * len(arms) + _HEADING) + 0.1)
    bad, hues = missing(measured), colours(measured.results.arms)
    names = [f"{arm}*" if arm in bad else arm for arm in arms]
    before = (_BEFORE + widest(names, weight="normal")) / WIDTH
    width, height = (0.985 - before) / columns, top / rows
    bars = _BAR * len(arms) / float(figure.get_figheight())
    for place, (measure, estimates) in enumerate(zip(measures, found, strict=True)):
        row, column = divmod(place, columns)
        left = before + column * width
        axes = figure.add_axes((left, top - (row + 1) * height + 0.03 * height, width - 0.02, bars))
        _panel(axes, measure, {arms.index(arm): each for arm, each in estimates.items()}, [hues[arm] for arm in arms])
        axes.set_yticks(range(len(arms)), names if column == 0 else [""] * len(arms))
    return figure


def _panel(axes: Axes, measure: Measure, estimates: Mapping[int, Estimate], hues: Sequence[str]) -> None:
    axes.set_title(capital(measure.what), fontsize=11, loc="left", fontweight="bold")
    for number, estimate in estimates.items():
        axes.barh(number, estimate.value, color=hues[number], height=0.7)
        if estimate.repeated:
            axes.plot((estimate.low, estimate.high), (number, number), color="white", linewidth=4)
            axes.plot((estimate.low, estimate.high), (number, number), color=DARK, linewidth=1.6)
        axes.text(estimate.high, number, f"  {quantity(estimate.value, measure.unit)}", va="center", fontsize=10)
    most = max((estimate.high for estimate in estimates.values()), default=0)
    axes.set(xlim=(0, most * _BESIDE or 1), ylim=(len(hues) - 0.5, -0.5))
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
