"""Peers beside a comparison: what is run, what is kept, and what the report says of them."""

import io
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from bench.compare import running
from bench.compare.arms import Way
from bench.compare.findings import edges
from bench.compare.findings.measures import Measured
from bench.compare.findings.ranking import rank
from bench.compare.keeping import Kept
from bench.compare.peers import every, keeping
from bench.compare.peers import running as running_peers
from bench.compare.peers.peer import Command, Peer
from bench.compare.peers.running import OURS, installed, jobs, measure
from bench.compare.planning.plan import Asked, Plan
from bench.compare.reporting import terminal
from bench.compare.reporting.writing import write
from bench.compare.results import Correctness, Edge, Figure, Phase, Results, Run, Stopped, Surroundings
from outboxkit.errors import ConfigurationProblem, Problem
from sandbox import Sandbox

BOX = cast("Sandbox", None)
ABOUT = Surroundings(1, "", 2, quick=True, machine={}, versions={}, settings={}, workload={})
COMMAND = Command(("a", "program"))


def peer(name: str, *, problem: str = "") -> Peer:
    def install(directory: Path) -> Command:
        assert directory.is_dir()
        if problem:
            raise Problem(problem, remedy="install it")
        return COMMAND

    return Peer(name, "1.2", kind="relay", about=f"{name} has a setting.", install=install)


def begun(place: Path, asked: Asked = Asked(quick=True, arms=OURS, repetitions=2)) -> tuple[Kept, Plan]:  # noqa: B008
    kept = Kept(place / "out")
    return kept, kept.begun(asked, drawn=7, started_at="2026-01-01")


class Measures:
    """Measures nothing, and notes what it was asked for."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int | str]] = []

    def run(self, _: Sandbox, __: Plan, way: Way, repetition: int) -> Run:
        self.made.append((way.arm.name, repetition))
        return Run(way.arm.name, repetition, (Phase("drain", "drain"),))

    def edges(self, _: Sandbox, __: Plan, way: Way) -> Run:
        self.made.append((way.arm.name, "edges"))
        return Run(way.arm.name, 0, (Phase("killed", "edge", edge=Edge(10, 0, 0, 0, 0, 0, 1)),))


def run(place: Path, *peers: Peer) -> tuple[Kept, Plan, Measures]:
    (kept, plan), measures = begun(place), Measures()
    todo = jobs(plan, installed(kept, peers, kept.place / "peers"), 2)
    keeping.note(kept, tuple(each.arm for each in peers), 2, tuple(job.way.arm.name for job in todo if job.part))
    assert measure(BOX, kept, plan, todo, lambda _: None, run=measures.run, run_edges=measures.edges)
    return kept, plan, measures


def test_each_peer_and_two_arms_of_ours_have_edges_and_each_peer_its_repetitions(tmp_path: Path) -> None:
    _, _, measures = run(tmp_path, peer("one"), peer("two"))
    assert sorted(measures.made[:2]) == [("one 1.2", 0), ("two 1.2", 0)]
    assert measures.made[2:6] == [(name, "edges") for name in (*OURS, "one 1.2", "two 1.2")]
    assert sorted(measures.made[6:]) == [("one 1.2", 1), ("two 1.2", 1)]


def test_nothing_is_made_twice_and_another_peer_comes_beside_the_first(tmp_path: Path) -> None:
    run(tmp_path, peer("one"))
    kept, plan, measures = run(tmp_path, peer("two"))
    assert {name for name, _ in measures.made} == {"two 1.2"}
    found = running.collected(kept, plan, ABOUT, "complete")
    assert [arm.name for arm in found.arms] == [*OURS, "one 1.2", "two 1.2"]
    assert sorted(run.arm for run in found.runs) == sorted([*OURS, *["one 1.2"] * 3, *["two 1.2"] * 3])
    assert run(tmp_path, peer("one"), peer("two"))[2].made == []


def test_a_peer_that_cannot_be_installed_is_reported_and_the_others_are_measured(tmp_path: Path) -> None:
    kept, plan, measures = run(tmp_path, peer("one", problem="no registry"), peer("two"))
    assert {name for name, _ in measures.made} == {*OURS, "two 1.2"}
    found = running.collected(kept, plan, ABOUT, "complete")
    assert [run.not_measured for run in found.runs if run.arm == "one 1.2"] == ["no registry; install it"]
    assert {name for name, _ in run(tmp_path, peer("one"))[2].made} == {"one 1.2"}


def test_what_was_made_until_the_time_limit_is_reported_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_peers, "QUICK_SECONDS", 0.0)
    (kept, plan), measures = begun(tmp_path), Measures()
    todo = jobs(plan, installed(kept, [peer("one")], tmp_path), 1)
    assert not measure(BOX, kept, plan, todo, lambda _: None, run=measures.run, run_edges=measures.edges)
    found = running_peers.collected(kept, plan, ABOUT, todo, "time limit")
    assert found.stopped == Stopped("time limit", 1, 4, 0.0, f"bench peers --out {kept.place}")
    assert not found.complete


def test_arms_that_were_not_all_measured_before_are_no_fault_of_the_peers(tmp_path: Path) -> None:
    (kept, plan), measures = begun(tmp_path), Measures()
    todo = jobs(plan, installed(kept, [peer("one")], tmp_path), 1)
    assert measure(BOX, kept, plan, todo, lambda _: None, run=measures.run, run_edges=measures.edges)
    found = running_peers.collected(kept, plan, ABOUT, todo, "complete")
    assert found.stopped is not None
    assert (found.stopped.reason, found.stopped.made) == ("earlier", 0)
    assert found.stopped.go_on == f"bench compare --out {kept.place}"


def test_a_failed_installation_leaves_what_was_measured_before(tmp_path: Path) -> None:
    run(tmp_path, peer("one"))
    kept, plan, _ = run(tmp_path, peer("one", problem="no registry"))
    assert all(each.not_measured is None for each in running.collected(kept, plan, ABOUT, "complete").runs)


def test_a_peer_is_chosen_by_a_part_of_its_name() -> None:
    assert every.chosen(["pika"])
    assert every.chosen([]) == every.ALL
    with pytest.raises(ConfigurationProblem, match="none such"):
        every.chosen(["none such"])


def test_the_names_of_all_peers_are_different() -> None:
    assert len({each.arm.name for each in every.ALL}) == len(every.ALL)


def planted() -> Results:
    """Return two repetitions of ours and of a peer that is faster and loses, with an edge of each."""
    arms = (running_way().arm, peer("one").arm, peer("table").arm)
    runs = []
    for arm, rate, lost in ((arms[0], 100.0, 0), (arms[1], 900.0, 7)):
        edge = Edge(20, lost, 3, 2, 4, 5 if lost else 0, 6)
        counts = Correctness(20, lost, 4, 0)
        runs += [Run(arm.name, n, (drained(rate + n),)) for n in range(2)]
        runs.append(Run(arm.name, 0, (Phase("a thing is killed", "edge", correctness=counts, edge=edge),)))
    runs.append(Run(arms[2].name, 0, (Phase("a thing is killed", "edge", not_measured="it has no broker"),)))
    return Results(ABOUT, arms, tuple(runs))


def running_way() -> Way:
    return Way(peer("ours").arm)


def drained(rate: float) -> Phase:
    return Phase("a backlog", "drain", figures={"drain_rate": Figure(rate, "1/s")}, correctness=Correctness(9, 0, 0, 0))


def test_a_peer_that_loses_events_in_an_edge_is_never_called_best() -> None:
    results = planted()
    runs = (*results.runs, *(Run("table 1.2", n, (drained(50.0 + n),)) for n in range(2)))
    measured = Measured(Results(ABOUT, results.arms, runs))
    measured_rate = measured.measure("a backlog", "drain_rate")
    assert measured_rate is not None
    ranking = rank(measured, measured_rate)
    assert ranking is not None
    assert ranking.best.arm == "ours 1.2"
    assert [place.arm for place in ranking.left_out] == ["one 1.2"]


def test_each_peer_has_its_sentence_and_what_its_edges_showed() -> None:
    found = {arm: [each.text for each in some] for arm, some in edges.findings(Measured(planted())).items()}
    assert found["one 1.2"][0] == "one has a setting."
    assert found["one 1.2"][1] == "Lost: 7 of 20 events when a thing is killed."
    assert "5 when a thing is killed" in found["one 1.2"][2]
    assert found["ours 1.2"][1:] == ["Nothing was lost when a thing is killed."]
    assert found["table 1.2"][1:] == ["Not measured when a thing is killed: it has no broker."]


def test_every_form_of_the_report_has_the_edges_of_each_arm(tmp_path: Path) -> None:
    write(planted(), tmp_path)
    page, markdown = (tmp_path / "index.html").read_text(), (tmp_path / "report.md").read_text()
    assert '<h2 id="peers">' in page
    assert "<td>one 1.2</td><td>a thing is killed</td><td>20</td><td>7</td><td>3</td><td>2</td><td>4</td>" in page
    assert "| one 1.2 | a thing is killed | 20 | 7 | 3 | 2 | 4 | 5 | 6 |" in markdown
    assert "one has a setting." in page
    assert "table 1.2, a thing is killed: it has no broker" in markdown
    console = Console(file=io.StringIO(), width=150)
    terminal.show(planted(), console)
    assert isinstance(console.file, io.StringIO)
    shown = [line.replace("│", " ").split() for line in console.file.getvalue().splitlines()]
    assert ["one", "1.2", "a", "thing", "is", "killed", "20", "7", "3", "2", "4", "5", "6"] in shown
    assert ["table", "1.2", "a", "thing", "is", "killed", "-", "-", "-", "-", "-", "-", "not", "measured"] in shown
