"""The plots of a report, as PNG and SVG, without a screen; which there are stands in findings/plates.py."""

import io
import re

from matplotlib.figure import Figure

from bench.compare.findings.measures import Measured
from bench.compare.findings.plates import Bars, Counts, Curves, Grid, Plate, Rates
from bench.compare.reporting.plots import bars, counts, curves, panels
from bench.compare.reporting.plots.style import styled


def draw(measured: Measured, plate: Plate) -> Figure:
    """Return the figure of one plate."""
    with styled():
        match plate.shows:
            case Curves(phase, hop):
                return curves.draw(measured, plate.title, phase, hop)
            case Bars(measures):
                return bars.draw(measured, plate.title, measures)
            case Grid(phase, series):
                return panels.grid(measured, plate.title, phase, series)
            case Rates(phase):
                return panels.rates(measured, plate.title, phase)
            case Counts():
                return counts.draw(measured, plate.title)


def png(figure: Figure) -> bytes:
    """Return a figure as an image."""
    target = io.BytesIO()
    with styled():
        figure.savefig(target, format="png")
    return target.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Return a figure as an SVG file that refers to nothing outside; its ids begin with `name`.

    Letters are drawn as paths, so it looks the same where our font is not installed.
    """
    target = io.BytesIO()
    with styled():
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    text = target.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", text)


def inline(svg_file: str, *, says: str) -> str:
    """Return an SVG as an element of a page, without what only a file of its own needs; `says` is its description."""
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg_file).replace(' xlink:href="', ' href="')
    return text.replace("<svg ", f'<svg role="img" aria-label="{says}" ', 1)
