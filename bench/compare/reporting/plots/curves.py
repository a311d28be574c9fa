"""Draws latencies by their share: the cumulative distribution, with one line for each arm."""

import math
from bisect import bisect_left

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bench.compare.distribution import Distribution
from bench.compare.findings.measures import Measured
from bench.compare.quantities import SECONDS
from bench.compare.reporting.plots.style import beside, colours, label_lines, numbers, titled

_SHARES = {"0": 0.0, "50 %": 0.5, "90 %": 0.9, "99 %": 0.99, "99.9 %": 0.999, "99.99 %": 0.9999}
_POINTS = 40
"""Of a line, for each tenth of the events that are left."""
_LEFT_EDGE = 0.085
"""Of the axes, as a share of the figure's width."""
_LEFT = 5
"""Events beyond a line's end: the few slowest of all are in the tables, as the maximum."""
_LEAST = 1e-6
"""Seconds: the least time that a logarithmic axis shows."""
_DECADES = 100
"""An axis that reaches over less than this has numbers between those of the decades, too."""
_FAST = 0.02
"""The share of fast events below the axis: those are few, and would take half of a logarithmic axis."""


def draw(measured: Measured, title: str, phase: str, hop: str) -> Figure:
    """Draw one latency at one load."""
    figure, top = titled(title, 6.0)
    arms = [arm for arm in measured.arms if measured.distribution(arm, phase, hop).bins]
    axes = figure.add_axes((_LEFT_EDGE, 0.095, beside(arms, _LEFT_EDGE), top - 0.125))
    hues = colours(measured.results.arms)
    ends, least = {}, math.inf
    for arm in arms:
        found = measured.distribution(arm, phase, hop)
        xs, ys = _line(found)
        axes.plot(xs, ys, color=hues[arm], linewidth=2)
        ends[arm] = (xs[-1], ys[-1])
        least = min(least, found.quantile(_FAST))
    furthest = max(x for x, _ in ends.values())
    ticks = {name: _stretched(share) for name, share in _SHARES.items() if _stretched(share) <= furthest}
    axes.set_yscale("log")
    axes.set_xlim(0, furthest)
    axes.set_ylim(bottom=max(least, _LEAST))
    axes.set_xticks(list(ticks.values()), list(ticks))
    low, high = axes.get_ylim()
    if high < _DECADES * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(numbers(SECONDS))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("share of the events")
    axes.set_ylabel(f"{hop} at most this late")
    label_lines(axes, ends, hues)
    return figure


def _line(found: Distribution) -> tuple[list[float], list[float]]:
    """Return the points of a line from the fastest events to the slowest; the slow end is stretched."""
    curve = found.curve()
    shares = [share for _, share in curve]
    end = max(1, math.ceil(_stretched(max(0.0, 1 - _LEFT / found.count)) * _POINTS))
    xs = [place / _POINTS for place in range(end + 1)]
    return xs, [max(_LEAST, curve[min(bisect_left(shares, 1 - 10**-x), len(curve) - 1)][0]) for x in xs]


def _stretched(share: float) -> float:
    return -math.log10(1 - share)
