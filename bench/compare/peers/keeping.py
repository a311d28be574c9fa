"""Keeps the runs of peers beside those of the arms, in the directory of a comparison; peers.json says which."""

import msgspec
from msgspec import Struct

from bench.compare.arms import Way
from bench.compare.keeping import Kept, put
from bench.compare.results import Arm, Run

EDGES = "edges"


class Measured(Struct, frozen=True, forbid_unknown_fields=True):
    """What peers.json says."""

    arms: tuple[Arm, ...] = ()
    """The peers, in the report's order."""
    repetitions: int = 0
    edges_of: tuple[str, ...] = ()
    """The names of the arms and peers that have edges."""


def measured(kept: Kept) -> Measured:
    """Return what is there."""
    file = kept.place / "peers.json"
    return msgspec.json.decode(file.read_bytes(), type=Measured) if file.exists() else Measured()


def note(kept: Kept, peers: tuple[Arm, ...], repetitions: int, edges_of: tuple[str, ...]) -> None:
    """Note that these are measured, beside those that were."""
    before = measured(kept)
    new = {arm.name: arm for arm in (*before.arms, *peers)}
    names = dict.fromkeys((*before.edges_of, *edges_of))
    found = Measured(tuple(new.values()), max(before.repetitions, repetitions), tuple(names))
    put(kept.place / "peers.json", msgspec.json.encode(found))


def runs(kept: Kept) -> list[Run]:
    """Return the runs of all peers, and the edges of all."""
    found = measured(kept)
    peers = [(number, Way(arm)) for arm in found.arms for number in range(found.repetitions)]
    edges = [(0, Way(Arm(name, "peer"))) for name in found.edges_of]
    return [*kept.runs(peers), *kept.runs(edges, EDGES)]
