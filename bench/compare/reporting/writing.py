"""Writes a report into a directory: index.html, report.md, results.json and the plots."""

from html import escape
from pathlib import Path

from bench.compare import results
from bench.compare.findings.against import Against, against
from bench.compare.findings.measures import Measured
from bench.compare.findings.sections import sections, stated
from bench.compare.reporting import document
from bench.compare.reporting.markdown import markdown
from bench.compare.reporting.page import page
from bench.compare.reporting.plots import drawing
from bench.compare.results import Results

_PLOTS = "plots"


def write(found: Results, place: Path, *, earlier: Results | None = None) -> Path:
    """Write the report of `found` into `place`, compared with an earlier one; return the path of index.html."""
    measured = Measured(found)
    parts = sections(measured)
    blocks = document.document(measured, parts, compared(found, earlier))
    (place / _PLOTS).mkdir(parents=True, exist_ok=True)
    elements = {}
    for plate in document.pictures(blocks):
        figure = drawing.draw(measured, plate)
        drawn = drawing.svg(figure, plate.name)
        (place / _PLOTS / f"{plate.name}.svg").write_text(drawn, encoding="utf-8")
        (place / _PLOTS / f"{plate.name}.png").write_bytes(drawing.png(figure))
        elements[plate.name] = drawing.inline(drawn, says=escape(plate.title))
    index = place / "index.html"
    index.write_text(page(blocks, elements), encoding="utf-8")
    (place / "report.md").write_text(markdown(blocks, plots=_PLOTS), encoding="utf-8")
    results.write(found, place / "results.json")
    return index


def compared(found: Results, earlier: Results | None) -> Against | None:
    """Compare two comparisons; None without an earlier one."""
    if earlier is None:
        return None
    now, then = Measured(found), Measured(earlier)
    return against(now, then, stated(sections(now)), stated(sections(then)))
