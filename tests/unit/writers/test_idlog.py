"""The log of committed ids: an id is in the file when the call returns, or the call raises."""

from pathlib import Path
from uuid import uuid4

import pytest

from outboxkit.errors import ConfigurationProblem, Problem
from writers import idlog


def test_ids_are_in_the_file_when_the_call_returns_one_per_line(tmp_path: Path) -> None:
    ids = [uuid4() for _ in range(3)]
    path = tmp_path / "ids"
    with idlog.opened(path) as append:
        append(ids[:2])
        assert path.read_text() == f"{ids[0]}\n{ids[1]}\n"
        append(ids[2:])
        assert path.read_text().splitlines() == [str(each) for each in ids]


def test_ids_are_appended_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    path.write_text("earlier\n")
    with idlog.opened(path) as append:
        append([uuid4()])
    assert path.read_text().startswith("earlier\n")


def test_without_a_file_no_id_is_written() -> None:
    with idlog.opened(None) as append:
        append([uuid4()])


def test_a_file_that_cannot_be_opened_is_a_wrong_option(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationProblem, match="cannot be opened for the ids: Is a directory"),
        idlog.opened(tmp_path),
    ):
        pass


def test_a_full_disk_raises_with_the_first_id_that_is_not_in_the_file() -> None:
    task_id = uuid4()
    with (
        pytest.raises(Problem, match=f"No space left on device.*{task_id}"),
        idlog.opened(Path("/dev/full")) as append,
    ):
        append([task_id])
