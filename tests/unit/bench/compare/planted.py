"""Small results with exactly what a test plants in them."""

from collections.abc import Mapping, Sequence

from bench.compare.findings.measures import Measure, Measured
from bench.compare.quantities import BY_NAME
from bench.compare.results import Arm, Correctness, Figure, Kind, Phase, Results, Run, Surroundings

PHASE = "a part"
WAL, POLL, OTHER, NONE = "WAL", "polling", "polling, too", "no relay"
ARMS = (Arm(WAL, "wal"), Arm(POLL, "polling", interval=1), Arm(OTHER, "polling", interval=1), Arm(NONE, "none"))
SURROUNDINGS = Surroundings(7, "2026-11-27T23:00:00Z", 3, True, {"cores": "2"}, {"postgres": "15"}, {}, {})


def figure(name: str, value: float) -> Figure:
    """Return a figure in the unit that its name says."""
    return Figure(value, BY_NAME[name].unit)


def planted(
    name: str, values: Mapping[str, Sequence[float]], *, kind: Kind = "drain", missed: Mapping[str, int] = {}
) -> Measured:
    """Return results with one figure: a value for each repetition of each arm; `missed` are events for each of them."""
    runs = [
        Run(arm, number, (_phase(name, kind, value, missed.get(arm, 0)),))
        for arm, each in values.items()
        for number, value in enumerate(each)
    ]
    return Measured(Results(SURROUNDINGS, ARMS, tuple(runs)))


def the(measured: Measured, name: str) -> Measure:
    """Return the measure of the figure."""
    found = measured.measure(PHASE, name)
    assert found is not None
    return found


def _phase(name: str, kind: Kind, value: float, missed: int) -> Phase:
    return Phase(PHASE, kind, figures={name: figure(name, value)}, correctness=Correctness(1000, missed, 0, 0))
