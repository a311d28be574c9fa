"""How much of everything a comparison measures, and in which of its runs. Pure."""

from msgspec import Struct


class Sizes(Struct, frozen=True):
    """How much of everything is measured in one run."""

    long_runs: int
    """How many repetitions have the search for the highest rate, and the incidents."""
    idle_runs: int
    """How many have a while without events."""
    backlog: int
    """Events of the drain."""
    slow_backlog: int
    """The same, for the control that waits for each confirm."""
    load_seconds: float
    idle_seconds: float
    """Of watching a relay without events; 0: it is not watched."""
    settle_seconds: float
    """Before that, until sessions have told the server what they did."""
    step_seconds: float
    """Of each rate, in the search for the highest; twice the interval of a poller at least."""
    outage_seconds: float
    """0: the broker stays up."""
    outage_rate: float
    """Events per second of the load around an outage, and around a large transaction."""
    around_seconds: float
    """How long that load runs before what happens, and after it."""
    large_rows: int
    """Events of the large transaction; 0: there is none."""
    patience: float
    """Seconds after which what has not arrived is given up, if nothing else arrives."""
    at_most: float
    """Seconds after which it is given up even if something arrives; it is called unfinished then, and not missed."""
    outage_arms: tuple[str, ...] | None = None
    """The arms with an outage; None: all."""
    large_arms: tuple[str, ...] | None = None
    """The arms with a large transaction; None: all."""
    idle_arms: tuple[str, ...] | None = None
    """The arms that are watched without events; None: all."""
    fewer: dict[str, int] = {}
    """How many repetitions an arm has, at most; arms that are not named have all."""
    reserve_seconds: float = 0.0
    """What is kept of the time limit for the start of the servers, the report, and a run that takes longer."""
