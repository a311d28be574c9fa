"""Keeps a comparison in a directory: its plan, and one file for each run, so that it can be interrupted and go on.

A file appears whole or not at all. A run that was not measured is tried again when the comparison goes on.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench.compare import results
from bench.compare.arms import Way
from bench.compare.planning.plan import Asked, Plan, agree, made
from bench.compare.results import Run
from outboxkit.errors import ConfigurationProblem


class Kept:
    """The directory `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._plan = place / "plan.json"
        self._runs = place / "runs"

    def plan(self) -> Plan | None:
        """Return the plan that is there; raises ConfigurationProblem for one that another version wrote."""
        if not self._plan.exists():
            return None
        try:
            return msgspec.json.decode(self._plan.read_bytes(), type=Plan)
        except msgspec.DecodeError as error:
            raise ConfigurationProblem(
                f"{self._plan} is no plan that this bench can go on with: {error}", remedy="choose another --out"
            ) from error

    def begun(self, asked: Asked, *, drawn: int, started_at: str, load_before: str = "") -> Plan:
        """Return the plan that is there, or store what is `asked`; raises ConfigurationProblem if they differ."""
        stored = self.plan()
        if stored is not None:
            if (name := agree(stored, asked)) is not None:
                raise ConfigurationProblem(
                    f"{self.place} has a comparison with another {name}: {getattr(stored, name)}",
                    remedy="leave that option out to go on with it, or choose another --out",
                )
            return stored
        plan = made(asked, drawn=drawn, started_at=started_at, load_before=load_before)
        self._runs.mkdir(parents=True, exist_ok=True)
        put(self._plan, msgspec.json.encode(plan))
        return plan

    def run(self, repetition: int, way: Way, part: str = "") -> Run | None:
        """Return a run that was measured as a whole, or a `part` beside it; None if there is none."""
        try:
            found = results.decoded_run(self._file(repetition, way, part).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        return found if found.not_measured is None else None

    def keep(self, run: Run, way: Way, part: str = "") -> None:
        """Store a run, or a `part` beside it."""
        put(self._file(run.repetition, way, part), results.encoded(run))

    def runs(self, order: Iterable[tuple[int, Way]], part: str = "") -> list[Run]:
        """Return every run that is there, those that were not measured too, in the order of arms and repetitions."""
        found = []
        for repetition, way in order:
            file = self._file(repetition, way, part)
            if file.exists():
                found.append(results.decoded_run(file.read_bytes()))
        return sorted(found, key=lambda run: (run.arm, run.repetition))

    def _file(self, repetition: int, way: Way, part: str) -> Path:
        return self._runs / f"{way.slug}.{f'{part}.' if part else ''}{repetition}.json"


def put(path: Path, text: bytes) -> None:
    """Write a file that appears whole or not at all."""
    new = path.with_suffix(".new")
    new.write_bytes(text)
    new.replace(path)
