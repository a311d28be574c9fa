"""How every plot looks: colours, sizes, numbers, and labels that do not cover each other. Knows no results."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter

from bench.compare.findings.phrasing import quantity
from bench.compare.results import Arm, Family

WIDTH = 12.0
"""Inches, of which each has 100 points on a screen: plots are 1200 wide."""
DPI = 100
GREY = "#c8c8c8"
DARK = "#222222"
FAULT = "#b2182b"
_TITLE_LETTERS = 100
_FAMILY, _SIZE, _POINTS = "DejaVu Sans", 11, 72.0
"""The font, its size, and how many points an inch has."""
_LIGHT = 0.42
"""The greatest luminance of letters."""
_LINE = 0.26
"""Inches for one line of the title."""
_HUES: Mapping[Family, tuple[str, ...]] = {
    "wal": ("#0072b2", "#56b4e9"),
    "polling": ("#d55e00", "#e69f00", "#009e73", "#cc79a7", "#882255", "#999933", "#44aa99"),
    "control": ("#000000", "#7f7f7f"),
    "peer": ("#117733", "#cc6677", "#332288", "#ddaa33", "#aa4499", "#661100", "#bbcc33"),
    "none": ("#a6a6a6",),
}
"""After Okabe and Ito, and Tol: told apart with any colour vision. Labels stand beside the lines as well."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style for the block."""
    with mpl.rc_context(
        {
            "font.size": _SIZE,
            "font.family": [_FAMILY],
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#888888",
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#e6e6e6",
            "text.color": DARK,
            "axes.labelcolor": DARK,
            "xtick.color": DARK,
            "ytick.color": DARK,
            "text.parse_math": False,
            "svg.hashsalt": "bench compare",
        }
    ):
        yield


def colours(arms: Sequence[Arm]) -> dict[str, str]:
    """Return each arm's colour: shades of one family stand together."""
    left = {family: cycle(hues) for family, hues in _HUES.items()}
    return {arm.name: next(left[arm.family]) for arm in arms}


def dark(hue: str) -> tuple[float, float, float]:
    """Return the shade of a colour for letters: as dark as is read on white."""
    red, green, blue = to_rgb(hue)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    share = min(1.0, _LIGHT / light) if light else 1.0
    return red * share, green * share, blue * share


def widest(names: Iterable[str], *, weight: Literal["normal", "bold"]) -> float:
    """Return how many inches the widest of some names takes."""
    font = FontProperties(family=_FAMILY, weight=weight)
    return (
        max((TextPath((0, 0), name, size=_SIZE, prop=font).get_extents().width for name in names), default=0) / _POINTS
    )


def titled(title: str, height: float) -> tuple[Figure, float]:
    """Return a figure with its title, and the share of its height that is left below the title."""
    kept = re.sub(r"(?<=\d) ", "\N{NO-BREAK SPACE}", title)  # a number keeps its unit
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(kept, _TITLE_LETTERS)]
    above = 0.3 + _LINE * len(lines)
    figure = Figure(figsize=(WIDTH, height + above), dpi=DPI, facecolor="white")
    figure.text(
        0.012, 1 - 0.12 / (height + above), "\n".join(lines), fontsize=14, fontweight="bold", va="top", linespacing=1.25
    )
    return figure, height / (height + above)


def numbers(unit: str) -> FuncFormatter:
    """Return the form of an axis' numbers: with their unit, in the multiple that makes them short."""
    return FuncFormatter(lambda value, _: quantity(value, unit))


def apart(places: Mapping[str, float], least: float, low: float, high: float) -> dict[str, float]:
    """Return places from `low` to `high` near the given ones, each `least` from the next, so that labels fit."""
    names = sorted(places, key=lambda name: places[name])
    found: list[float] = []
    for name in names:
        found.append(max(places[name], found[-1] + least) if found else max(places[name], low))
    top = high
    for index in range(len(found) - 1, -1, -1):
        found[index] = min(found[index], top)
        top = found[index] - least
    return dict(zip(names, found, strict=True))


_LEADER = 0.036
"""The share of the axes' width that a leader takes beside them."""


def beside(names: Iterable[str], left: float) -> float:
    """Return which share of the figure's width axes have that begin at `left`, with the names of lines beside them."""
    return (0.99 - left - widest(names, weight="bold") / WIDTH) / (1 + _LEADER)


def label_lines(axes: Axes, ends: Mapping[str, tuple[float, float]], hues: Mapping[str, str]) -> None:
    """Write each line's name right of the axes, beside where it `ends` (in the axes' own units), with a thin leader."""
    shares = {name: _share(axes, *end) for name, end in ends.items()}
    for name, place in apart({name: share for name, (_, share) in shares.items()}, 0.06, 0.0, 1.0).items():
        axes.plot(
            (shares[name][0], 1.012, 1.03), (shares[name][1], shares[name][1], place), color=hues[name], linewidth=0.9,
            transform=axes.transAxes, clip_on=False,
        )  # fmt: skip
        axes.text(
            1 + _LEADER, place, name, va="center", color=dark(hues[name]), fontweight="bold", transform=axes.transAxes
        )


def _share(axes: Axes, x: float, y: float) -> tuple[float, float]:
    at = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
    return float(at[0]), float(at[1])
