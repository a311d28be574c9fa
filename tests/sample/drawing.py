"""Which faults and mutants stand for all of them in one run of CI: drawn by the commit's hash, so a rerun repeats them.

Names are ranked by a hash of commit and name. A new name therefore leaves the rest of the ranking as it was, and every
name comes first for some commit.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

_SEEDS = 1_000_000


class Run(NamedTuple):
    """One `make` target and its ARGS."""

    target: str
    arguments: str

    def __str__(self) -> str:
        return f'make {self.target} ARGS="{self.arguments}"'


def draw(commit: str, names: Iterable[str], count: int) -> list[str]:
    """Return `count` of `names`, in the order in which they run; all of them if there are fewer."""
    return sorted(names, key=lambda name: _digest(commit, name))[:count]


def seed(commit: str) -> int:
    """Return the seed that the faults of this commit run with."""
    return int(_digest(commit, "seed"), 16) % _SEEDS


def runs(commit: str, *, faults: Iterable[str], mutants: Iterable[str], each: int) -> list[Run]:
    """Return what CI runs for `commit`: `each` faults and as many mutants, in turns, so that a limit cuts both."""
    chosen_faults = [Run("faults", f"'{name}' --seeds 1 --seed {seed(commit)}") for name in draw(commit, faults, each)]
    chosen_mutants = [Run("mutants", f"'{name}'") for name in draw(commit, mutants, each)]
    return [run for pair in zip(chosen_faults, chosen_mutants, strict=True) for run in pair]


def _digest(commit: str, name: str) -> str:
    return sha256(f"{commit} {name}".encode()).hexdigest()
