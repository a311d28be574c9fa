"""CI's sample of faults and mutants: repeatable, fair, and bounded in time."""

import time
from hashlib import sha1
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS
from tests.mutants.catalogue import MUTANTS
from tests.sample.drawing import Run, draw, runs
from tests.sample.running import run_all

NAMES = {"faults": [fault.name for fault in FAULTS], "mutants": [mutant.name for mutant in MUTANTS]}
COMMITS = [sha1(bytes([number]), usedforsecurity=False).hexdigest() for number in range(250)]


@pytest.mark.parametrize("kind", NAMES)
def test_names_are_different_and_stay_whole_within_the_quotes_of_a_shell(kind: str) -> None:
    assert len(set(NAMES[kind])) == len(NAMES[kind])
    assert not [name for name in NAMES[kind] if set(name) & set(",;'\"`$|\\#")]


@pytest.mark.parametrize("kind", NAMES)
def test_the_same_commit_draws_the_same_and_another_commit_reaches_everything(kind: str) -> None:
    names = NAMES[kind]
    drawn = {commit: draw(commit, names, 6) for commit in COMMITS}
    assert all(len(set(chosen)) == 6 for chosen in drawn.values())
    assert drawn == {commit: draw(commit, reversed(names), 6) for commit in COMMITS}
    assert {name for chosen in drawn.values() for name in chosen} == set(names)


def test_faults_and_mutants_take_turns() -> None:
    chosen = runs(COMMITS[0], **NAMES, each=3)
    assert [run.target for run in chosen] == ["faults", "mutants"] * 3
    assert chosen == runs(COMMITS[0], **NAMES, each=3)


@pytest.fixture
def make(tmp_path: Path) -> str:
    """Return a `make` whose targets are programs: the ARGS are a script for the shell."""
    program = tmp_path / "make"
    program.write_text('#!/bin/sh\neval "${2#ARGS=}"\n', encoding="ascii")
    program.chmod(0o755)
    return str(program)


def test_one_that_fails_is_returned_and_the_next_one_runs(make: str, tmp_path: Path) -> None:
    failing, passing = Run("faults", "exit 1"), Run("mutants", f"touch {tmp_path}/ran")
    assert run_all([failing, passing], seconds=60, say=print, make=make) == [failing]
    assert (tmp_path / "ran").exists()


def test_the_limit_stops_what_runs_and_leaves_out_the_rest_and_neither_has_failed(make: str, tmp_path: Path) -> None:
    said: list[str] = []
    endless = Run("faults", f"trap 'touch {tmp_path}/asked; exit 1' TERM; sleep 60 & wait")
    late = Run("mutants", "exit 1")
    began = time.monotonic()
    assert run_all([endless, late], seconds=35, say=said.append, make=make) == []
    assert time.monotonic() - began < 25
    assert (tmp_path / "asked").exists()
    assert [line for line in said if line.startswith("not run: ")] == [
        f"not run: {run}: the limit of 35 s was reached" for run in (endless, late)
    ]
