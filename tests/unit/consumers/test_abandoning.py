"""What the line `not drained` says."""

from consumers.abandoning import not_drained
from consumers.claims.giving_back import GivenBack


def test_it_tells_what_was_given_back_and_what_is_left_and_why() -> None:
    gave = GivenBack(3, written=1, locked=2)
    assert not_drained(gave, tasks=4, events=0, jobs=[]) == {
        "tasks": 4,
        "given_back": 1,
        "left": 2,
        "events": 0,
        "jobs": [],
        "reason": "another transaction has locked the rows of 2 tasks",
        "remedy": "the tasks that were given back run again; "
        "the tasks that are left run again when their leases expire",
    }


def test_what_could_not_be_written_is_left_with_the_error_of_the_database() -> None:
    found = not_drained(GivenBack(2, error="the server is gone"), tasks=2, events=0, jobs=[])
    assert (found["given_back"], found["left"], found["reason"]) == (0, 2, "the server is gone")
    assert found["remedy"] == "the tasks that are left run again when their leases expire"


def test_there_is_a_remedy_only_for_what_there_is() -> None:
    assert "remedy" not in not_drained(GivenBack(0), tasks=0, events=0, jobs=[])
    assert not_drained(GivenBack(0), tasks=0, events=1, jobs=["a"])["remedy"] == (
        "the events are delivered again; the jobs run again when their locks end"
    )
    assert "reason" not in not_drained(GivenBack(1, written=1), tasks=1, events=0, jobs=[])
