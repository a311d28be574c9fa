"""The JSON of a comparison's results."""

from pathlib import Path

import msgspec
import pytest

from bench.compare.results import VERSION, Phase, Run, decoded, decoded_run, encoded, read, write
from outboxkit.errors import Problem
from tests.unit.bench.compare.plausible import Draw


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = Draw(events=50, repetitions=1).results()
    write(found, tmp_path / "results.json")
    assert read(tmp_path / "results.json") == found


def test_a_run_is_read_as_it_was_written() -> None:
    run = Run("WAL", 2, (Phase("even", "load", not_measured="too slow"),))
    assert decoded_run(encoded(run)) == run


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_another_version_is_refused_by_its_number(version: int) -> None:
    text = msgspec.json.encode({"version": version, "runs": "in another form"})
    with pytest.raises(Problem, match=rf"old\.json has version {version} .* reads version {VERSION}"):
        decoded(text, where="old.json")


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'{"version": 1}', b'{"version": 1, "arms": 3}'])
def test_other_json_is_refused_by_the_name_of_its_file(text: bytes) -> None:
    with pytest.raises(Problem, match=r"other\.json has no results"):
        decoded(text, where="other.json")


def test_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown"):
        decoded_run(b'{"arm": "WAL", "repetition": 0, "unknown": 1}')


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"cannot read .*missing\.json"):
        read(tmp_path / "missing.json")
