"""What `bench tasks` makes of its runs, and what it says when a peer cannot be had."""

from pathlib import Path
from typing import cast

import pytest

from bench.load.peers import installing
from bench.measures.tasks import backlog
from bench.measures.tasks.arms import BARE, Worked
from outboxkit.errors import Problem
from sandbox import Sandbox


class Fake:
    """An arm whose runs are known beforehand; it writes its name down each time."""

    def __init__(self, name: str, rates: list[float], order: list[str]) -> None:
        self.name = name
        self._rates = iter(rates)
        self._order = order

    def run(self, box: Sandbox, *, tasks: int, window: int) -> Worked:
        del box, tasks, window
        self._order.append(self.name)
        return Worked(next(self._rates), 10.0, None, 1000.0)


def compared(*arms: Fake, runs: int) -> list[backlog.Rate]:
    box = cast("Sandbox", None)  # none of these arms uses it
    return backlog.compare(box, arms=arms, tasks=100, runs=runs, window=1, say=lambda _: None)


def test_arms_take_turns_and_every_second_round_is_reversed() -> None:
    order: list[str] = []
    compared(Fake(BARE.name, [1.0] * 3, order), Fake("ours", [1.0] * 3, order), runs=3)
    assert order == [BARE.name, "ours", "ours", BARE.name, BARE.name, "ours"]


def test_the_share_of_bare_is_the_median_of_the_rounds() -> None:
    bare, ours = compared(Fake(BARE.name, [100, 200, 400], []), Fake("ours", [50, 50, 300], []), runs=3)
    assert bare.of_bare == 1
    assert ours.of_bare == 0.5  # of 0.5, 0.25 and 0.75
    assert ours.per_second == 50
    assert (ours.transactions, ours.wal_bytes) == (None, 1000.0)


def test_without_the_bare_arm_there_is_no_share() -> None:
    (ours,) = compared(Fake("ours", [50], []), runs=1)
    assert ours.of_bare is None


def test_a_peer_without_its_program_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="graphile-worker needs node") as raised:
        installing.graphile_worker(tmp_path)
    assert "install Node.js" in raised.value.remedy


def test_each_peer_of_node_names_itself_when_node_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="pg-transactional-outbox needs node"):
        installing.pg_transactional_outbox(tmp_path)


def test_a_peer_that_is_installed_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / f"procrastinate-{installing.PROCRASTINATE}").touch()
    python, program = installing.procrastinate(tmp_path)
    assert Path(python).is_relative_to(tmp_path)
    assert Path(program).is_file()


def test_a_peer_that_cannot_be_installed_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(Problem, match=r"a peer cannot be installed: `python -m pip install .*ERROR") as raised:
        installing.procrastinate(tmp_path)
    assert "PyPI and npm" in raised.value.remedy
