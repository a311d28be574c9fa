"""The plan of a comparison: what is stored beside its runs, so that it can go on. Pure."""

from msgspec import Struct
from msgspec.structs import replace

from bench.compare.arms import ALL, Way, named
from bench.compare.planning import forms
from bench.compare.planning.sizes import Sizes
from bench.compare.planning.workload import Workload


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole comparison."""

    quick: bool
    seed: int
    started_at: str
    """ISO 8601, UTC."""
    repetitions: int
    arms: tuple[str, ...]
    workload: Workload
    rates: tuple[float, ...]
    """Events per second, ascending: tried in the search for the highest that is sustained."""
    sizes: Sizes
    window: int = 1000
    sessions: int = 16
    """Writers at the same time, at most."""
    at_most: float | None = None
    """Seconds that it takes, the start of the servers and the report included; None: as long as it takes.

    A run that is not expected to end by then is not begun. Whoever goes on has as much time again.
    """
    load_before: str = ""
    """The machine's load averages over 1, 5 and 15 minutes before the first run; empty if they are not known."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """The arms."""
        return tuple(map(named, self.arms))


class Asked(Struct, frozen=True):
    """What somebody wants of a comparison; None: what its form has."""

    quick: bool | None = None
    seed: int | None = None
    repetitions: int | None = None
    arms: tuple[str, ...] | None = None
    workload: Workload | None = None
    rates: tuple[float, ...] | None = None
    """Ascending."""


def made(asked: Asked, *, drawn: int, started_at: str, load_before: str = "") -> Plan:
    """Return the plan of what is `asked`; the seed is the one that was `drawn` unless one is asked for."""
    quick = asked.quick or False
    sizes = forms.QUICK if quick else forms.FULL
    return Plan(
        quick=quick,
        seed=drawn if asked.seed is None else asked.seed,
        started_at=started_at,
        repetitions=asked.repetitions or (forms.QUICK_REPETITIONS if quick else forms.FULL_REPETITIONS),
        arms=asked.arms or tuple(way.arm.name for way in ALL),
        workload=asked.workload or (forms.QUICK_WORKLOAD if quick else forms.FULL_WORKLOAD),
        rates=asked.rates or (forms.QUICK_RATES if quick else forms.FULL_RATES),
        sizes=replace(sizes, fewer={}) if asked.repetitions else sizes,
        at_most=forms.QUICK_AT_MOST if quick else forms.FULL_AT_MOST,
        load_before=load_before,
    )


def agree(stored: Plan, asked: Asked) -> str | None:
    """Return the name of what is `asked` and not what is `stored`; None if all is the same."""
    names = (name for name in asked.__struct_fields__ if getattr(asked, name) is not None)
    return next((name for name in names if getattr(asked, name) != getattr(stored, name)), None)
