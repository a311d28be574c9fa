"""The runs of a comparison: each is made once and kept, and what was interrupted goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from bench.compare import running
from bench.compare.arms import Way
from bench.compare.keeping import Kept
from bench.compare.planning import ordering
from bench.compare.planning.plan import Asked, Plan
from bench.compare.progress import words
from bench.compare.results import Phase, Run, Stopped, Surroundings
from bench.compare.running import Progress
from outboxkit.errors import ConfigurationProblem
from sandbox import Sandbox

BOX = cast("Sandbox", None)
ABOUT = Surroundings(1, "", 2, quick=True, machine={}, versions={}, settings={}, workload={})
ASKED = Asked(quick=True, arms=("WAL (wal2json)", "no relay"), repetitions=2)


class Measured:
    """Measures nothing, and notes what it was asked for; it fails as often as `refuses` says, and interrupts once."""

    def __init__(self, refuses: int = 0, interrupts_at: int | None = None) -> None:
        self.runs: list[tuple[str, int]] = []
        self._refuses = refuses
        self._interrupts_at = interrupts_at

    def __call__(self, _: Sandbox, __: Plan, way: Way, repetition: int) -> Run:
        if len(self.runs) == self._interrupts_at:
            raise KeyboardInterrupt
        self.runs.append((way.arm.name, repetition))
        why = "it broke" if len(self.runs) <= self._refuses else None
        return Run(way.arm.name, repetition, (Phase("drain", "drain"),), not_measured=why)


def begun(place: Path, asked: Asked = ASKED) -> tuple[Kept, Plan]:
    kept = Kept(place / "out")
    return kept, kept.begun(asked, drawn=7, started_at="2026-01-01")


def compare(place: Path, measure: Measured, observe: Callable[[Progress], Any] = lambda _: None) -> bool:
    kept, plan = begun(place)
    return running.compare(BOX, kept, plan, observe, measure)


def test_every_run_is_made_once_and_kept(tmp_path: Path) -> None:
    measure = Measured()
    assert compare(tmp_path, measure)
    assert sorted(measure.runs) == [("WAL (wal2json)", 0), ("WAL (wal2json)", 1), ("no relay", 0), ("no relay", 1)]
    again = Measured()
    assert compare(tmp_path, again)
    assert again.runs == []


def test_an_interrupted_comparison_goes_on_with_the_run_that_was_interrupted(tmp_path: Path) -> None:
    first, second = Measured(interrupts_at=2), Measured()
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path, first)
    assert compare(tmp_path, second)
    assert len(first.runs) == len(second.runs) == 2
    assert len({*first.runs, *second.runs}) == 4


def test_what_is_there_is_collected_after_an_interruption(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path, Measured(interrupts_at=3))
    kept, plan = begun(tmp_path)
    found = running.collected(kept, plan, ABOUT, "interrupted")
    assert len(found.runs) == 3
    assert [arm.name for arm in found.arms] == ["WAL (wal2json)", "no relay"]
    assert not found.complete
    assert found.stopped == Stopped(
        "interrupted", made=3, planned=4, limit=600, go_on=f"bench compare --out {tmp_path / 'out'}"
    )


def test_a_run_that_failed_is_collected_and_tried_again(tmp_path: Path) -> None:
    assert compare(tmp_path, Measured(refuses=1))
    kept, plan = begun(tmp_path)
    assert [run.not_measured for run in running.collected(kept, plan, ABOUT, "complete").runs].count("it broke") == 1
    again = Measured()
    assert compare(tmp_path, again)
    assert len(again.runs) == 1


def test_a_file_that_was_cut_is_measured_again(tmp_path: Path) -> None:
    assert compare(tmp_path, Measured())
    victim = next((tmp_path / "out" / "runs").glob("*.json"))
    victim.write_bytes(victim.read_bytes()[:10])
    again = Measured()
    assert compare(tmp_path, again)
    assert len(again.runs) == 1


def test_a_run_that_would_not_end_in_time_is_not_begun_and_made_by_whoever_goes_on(tmp_path: Path) -> None:
    kept, plan = begun(tmp_path)
    measure = Measured()
    costs = [ordering.expected(plan, way, repetition) for repetition, way in ordering.order(plan)]
    short = Plan(
        **{name: getattr(plan, name) for name in plan.__struct_fields__}
        | {"at_most": plan.sizes.reserve_seconds + min(costs) - 1}
    )
    for made in (1, 2, 3):
        assert not running.compare(BOX, kept, short, lambda _: None, measure)
        assert len(measure.runs) == made  # the first is made in any case
        found = running.collected(kept, short, ABOUT, "time limit")
        assert not found.complete
        assert found.stopped is not None
        assert (found.stopped.reason, found.stopped.made, found.stopped.planned) == ("time limit", made, 4)
    assert running.compare(BOX, kept, short, lambda _: None, measure)


def test_progress_names_each_run_and_ends(tmp_path: Path) -> None:
    seen: list[Progress] = []
    compare(tmp_path, Measured(), seen.append)
    assert [each.made for each in seen] == [0, 1, 2, 3, 4]
    assert seen[0].left > 0
    assert all(each.next for each in seen[:-1])
    assert (seen[-1].next, seen[-1].left) == ("", 0)


def test_another_comparison_is_not_mixed_with_the_one_that_is_there(tmp_path: Path) -> None:
    begun(tmp_path)
    assert begun(tmp_path, Asked())[1].seed == 7
    with pytest.raises(ConfigurationProblem, match="another seed: 7"):
        begun(tmp_path, Asked(seed=8))
    (tmp_path / "out" / "plan.json").write_text("{}")
    with pytest.raises(ConfigurationProblem, match="is no plan"):
        begun(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(20, "less than a minute left"), (150, "about 2 min left"), (7300, "about 2 h 2 min left")],
)
def test_the_time_left_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert words(seconds) == said
