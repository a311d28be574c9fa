"""The plots of a comparison: what is written in them can be read."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure as Drawing
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from msgspec import structs

from bench.compare import distribution
from bench.compare.findings.measures import Measured
from bench.compare.findings.plates import Bars, Curves, Grid, Plate, Rates
from bench.compare.findings.sections import sections
from bench.compare.reporting.plots import drawing
from bench.compare.reporting.plots.style import apart, colours, dark
from bench.compare.results import CONFIRMED, LAG, TABLE, Arm, Figure, Phase, Results, Run, Series, Step
from tests.unit.bench.compare.planted import ARMS, POLL, SURROUNDINGS, WAL
from tests.unit.bench.compare.plausible import BURSTY, DRAIN, IDLE, LARGE, NOTIFY, OUTAGE, RATES, Draw

LONG = "pg-transactional-outbox (polling) 10.20.30"


def _with_a_peer(results: Results) -> Results:
    """Return the results with one arm as a peer's, whose name has a package, a way and a version."""
    return structs.replace(
        results,
        arms=tuple(Arm(LONG, "peer") if arm.name == NOTIFY else arm for arm in results.arms),
        runs=tuple(structs.replace(run, arm=LONG) if run.arm == NOTIFY else run for run in results.runs),
    )


MEASURED = Measured(
    _with_a_peer(Draw(events=400, repetitions=2, phases=(BURSTY, DRAIN, RATES, IDLE, OUTAGE, LARGE)).results())
)
PLATES = [plate for section in sections(MEASURED) for plate in section.plates]
_TOUCH = 1.0
"""Dots by which two boxes may overlap: they are taller than their letters."""


def _texts(figure: Drawing) -> Iterator[tuple[str, Bbox]]:
    """Yield all that is written in a figure, and where; matplotlib keeps ticks beyond an axis' ends, too."""
    figure.draw_without_rendering()
    hidden = {label for label, is_shown in _ticks(figure) if not is_shown}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip() and text not in hidden:
            yield text.get_text(), text.get_window_extent()


def _ticks(figure: Drawing) -> Iterator[tuple[Text, bool]]:
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                yield tick.label1, low <= tick.get_loc() <= high
                yield tick.label2, False


@pytest.mark.parametrize("plate", PLATES, ids=[plate.name for plate in PLATES])
def test_nothing_that_is_written_covers_another_or_leaves_the_plot(plate: Plate) -> None:
    figure = drawing.draw(MEASURED, plate)
    texts = list(_texts(figure))
    assert plate.title in {text.replace("\n", " ") for text, _ in texts}
    for text, box in texts:
        assert figure.bbox.x0 <= box.x0, text
        assert box.x1 <= figure.bbox.x1, text
    for (one, here), (other, there) in combinations(texts, 2):
        shared = Bbox.intersection(here, there)
        assert shared is None or min(shared.width, shared.height) <= _TOUCH, (one, other)


@pytest.mark.parametrize("plate", PLATES[:2], ids=[plate.name for plate in PLATES[:2]])
def test_a_plot_is_wide_enough_for_a_screen_and_the_same_each_time(plate: Plate) -> None:
    image, again = (drawing.png(drawing.draw(MEASURED, plate)) for _ in range(2))
    assert int.from_bytes(image[16:20], "big") == 1200  # the width in a PNG's header
    assert image == again
    svgs = {drawing.svg(drawing.draw(MEASURED, plate), plate.name) for _ in range(2)}
    assert len(svgs) == 1


def test_two_arms_have_two_colours() -> None:
    hues = colours(MEASURED.results.arms)
    assert len(set(hues.values())) == len(hues) == len(MEASURED.results.arms)


@pytest.mark.parametrize("hue", ["#ffffff", "#e69f00", "#56b4e9"])
def test_letters_are_dark_enough_on_white(hue: str) -> None:
    red, green, blue = dark(hue)
    assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.43


@given(st.dictionaries(st.text(), st.floats(-0.5, 1.5), max_size=12))
def test_labels_are_apart_and_in_the_order_of_their_lines(places: dict[str, float]) -> None:
    found = apart(places, 0.06, 0.0, 1.0)
    ordered = sorted(places, key=lambda name: places[name])
    assert list(found) == ordered
    assert all(high - low >= 0.06 - 1e-9 for low, high in pairwise(found.values()))
    assert all(place <= 1 for place in found.values())


def test_the_least_that_can_be_measured_is_drawn() -> None:
    phases = (
        Phase(
            "short", "load", figures={"wal_bytes": Figure(0, "B"), "of our own": Figure(-1.5, "apples")},
            latencies={CONFIRMED: distribution.of([0.0])}, series={LAG: Series("s", ((0.0, 0.0),))},
            steps=(Step(100, 100, 100, 0, bounded=True),),
        ),
        Phase("one rate", "rates", steps=(Step(100, 100, 100, 0, bounded=True),)),
        Phase("no rate", "rates"),
        Phase("no event", "load", latencies={CONFIRMED: distribution.of([])}),
        Phase("no sample", "outage", series={LAG: Series("s", ()), TABLE: Series("B", ((1.0, 0.0),))}),
    )  # fmt: skip
    runs = tuple(Run(arm, 0, phases) for arm in (WAL, POLL))
    measured = Measured(Results(SURROUNDINGS, ARMS, runs))
    plates = [plate for section in sections(measured) for plate in section.plates]
    assert {type(plate.shows) for plate in plates} == {Bars, Curves, Grid, Rates}
    for plate in plates:
        assert drawing.png(drawing.draw(measured, plate)).startswith(b"\x89PNG")
