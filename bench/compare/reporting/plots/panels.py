"""Draws one small panel for each arm, with the others in grey: series over time, and lag by rate."""

import math
import statistics
import textwrap
from collections.abc import Callable, Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from bench.compare.findings.measures import SERIES, Measured
from bench.compare.findings.phrasing import quantity
from bench.compare.quantities import RATE, SECONDS
from bench.compare.reporting.plots.style import GREY, colours, dark, numbers, titled
from bench.compare.results import Phase, Step

_COLUMNS = 4
_HEIGHT = 1.7
_LEFT, _BETWEEN, _BELOW, _HEADING = 1.0, 0.38, 0.65, 0.32
"""Inches."""
_NAME_LETTERS, _NAME_LINE = 27, 0.17
"""Letters of a name in one line, and inches for each further line."""
_CUT = 3.0
"""Each axis over the median arm's, at most: one arm that takes an hour does not flatten all others."""
_THOUSAND = 1000
_LEAST = 1e-3
"""Seconds: the least lag that a logarithmic axis shows."""
Panel = Callable[[Axes, str, str | None], None]
"""Draws an arm in a colour, or as one of the others."""


def grid(measured: Measured, title: str, phase: str, series: str) -> Figure:
    """Draw a series over time, in each repetition of each arm."""
    there = _there(measured, phase, lambda part: series in part.series and bool(part.series[series].points))

    def panel(axes: Axes, arm: str, hue: str | None) -> None:
        parts = there[arm] if hue else there[arm][:1]
        for part in parts:
            times, values = zip(*part.series[series].points, strict=True)
            axes.plot(times, values, color=hue or GREY, linewidth=1.8 if hue else 0.8, zorder=3 if hue else 1)
        if hue and parts[0].marks:
            axes.axvspan(min(parts[0].marks.values()), max(parts[0].marks.values()), color="#ececec", zorder=0)

    figure, every = _panels(measured, title, list(there), panel)
    unit = next(part.series[series].unit for parts in there.values() for part in parts)
    ends = {arm: max(part.series[series].points[-1][0] for part in parts) for arm, parts in there.items()}
    peaks = {
        arm: max(value for part in parts for _, value in part.series[series].points) for arm, parts in there.items()
    }
    last, most = _limit(ends.values()), _limit(peaks.values())
    every[0].set(xlim=(0, last or 1), ylim=(0, most * 1.08 or 1))
    for axes, arm in zip(every, there, strict=True):
        beyond = [f"up to {quantity(peaks[arm], unit)}"] if peaks[arm] > most else []
        beyond += [f"until {quantity(ends[arm], SECONDS)}"] if ends[arm] > last else []
        axes.text(0.97, 0.9, ", ".join(beyond), ha="right", va="top", transform=axes.transAxes)
    _label(figure, every, (SECONDS, "time"), (unit, SERIES[series]))
    return figure


def rates(measured: Measured, title: str, phase: str) -> Figure:
    """Draw the lag at each rate that was tried."""
    there = _there(measured, phase, lambda part: bool(part.steps))

    def panel(axes: Axes, arm: str, hue: str | None) -> None:
        steps = sorted((step for part in there[arm] for step in part.steps), key=lambda step: step.offered)
        every_rate = list(dict.fromkeys(step.offered for step in steps))
        written = [statistics.median(step.achieved for step in steps if step.offered == rate) for rate in every_rate]
        middle = [statistics.median(_lags(steps, rate)) for rate in every_rate]
        axes.plot(written, middle, color=hue or GREY, linewidth=1.2 if hue else 0.6, zorder=1)
        _points(axes, steps, hue)

    figure, every = _panels(measured, title, list(there), panel)
    every[0].set(xscale="log", yscale="log")
    _label(figure, every, (RATE, "events per second, as written"), (SECONDS, "lag"))
    offered = sorted({step.offered for parts in there.values() for part in parts for step in part.steps})
    every[0].set_xticks(offered, [f"{rate / 1000:g}k" if rate >= _THOUSAND else f"{rate:g}" for rate in offered])
    every[0].set_xticks([], minor=True)
    return figure


def _limit(values: Collection[float]) -> float:
    return min(max(values), _CUT * statistics.median(values) or max(values))


def _there(measured: Measured, phase: str, has: Callable[[Phase], bool]) -> dict[str, list[Phase]]:
    found = {arm: [part for part in measured.parts(arm, phase) if has(part)] for arm in measured.arms}
    return {arm: parts for arm, parts in found.items() if parts}


def _lags(steps: Sequence[Step], offered: float | None = None) -> list[float]:
    return [max(step.lag, _LEAST) for step in steps if offered in {None, step.offered}]


def _points(axes: Axes, steps: Sequence[Step], hue: str | None) -> None:
    colour = hue or GREY
    for bounded in (True, False):
        some = [step for step in steps if step.bounded == bounded]
        axes.plot(
            [step.achieved for step in some], _lags(some), marker="o", linestyle="",
            markersize=7 if hue else 3, color=colour, markerfacecolor=colour if bounded else "white",
            zorder=3 if hue else 1,
        )  # fmt: skip


def _panels(measured: Measured, title: str, arms: Sequence[str], draw: Panel) -> tuple[Figure, list[Axes]]:
    columns = min(_COLUMNS, len(arms))
    rows = math.ceil(len(arms) / columns)
    names = {arm: textwrap.fill(arm, _NAME_LETTERS) for arm in arms}
    heading = _HEADING + _NAME_LINE * max(name.count("\n") for name in names.values())
    figure, top = titled(title, rows * (_HEIGHT + heading) + _BELOW)
    wide, high = float(figure.get_figwidth()), float(figure.get_figheight())
    width = (wide - _LEFT - 0.15) / columns
    hues = colours(measured.results.arms)
    every: list[Axes] = []
    for place, arm in enumerate(arms):
        row, column = divmod(place, columns)
        bottom = top * high - (row + 1) * (_HEIGHT + heading)
        where = ((_LEFT + column * width) / wide, bottom / high, (width - _BETWEEN) / wide, _HEIGHT / high)
        shared = every[0] if every else None
        axes = figure.add_axes(where, sharex=shared, sharey=shared)
        for other in arms:
            draw(axes, other, hues[arm] if other == arm else None)
        axes.set_title(names[arm], fontsize=10.5, loc="left", fontweight="bold", color=dark(hues[arm]))
        axes.tick_params(labelleft=column == 0, labelbottom=place + columns >= len(arms))
        every.append(axes)
    return figure, every


def _label(figure: Figure, every: Sequence[Axes], x: tuple[str, str], y: tuple[str, str]) -> None:
    """Give the axes their numbers and names; x and y are a unit and a name each."""
    for axis, (unit, _), cut, most in ((every[0].xaxis, x, "upper", 4), (every[0].yaxis, y, None, 5)):
        axis.set_major_formatter(numbers(unit))
        if axis.get_scale() == "log":
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(most, prune=cut))
    figure.supxlabel(x[1], fontsize=11)
    figure.supylabel(y[1], fontsize=11, x=0.008)
