"""The executions that a consumer remembers, and how they are asked for."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from starlette.requests import Request

from consumers.watching.executions import KEPT, Executions, events_route

ONE, TWO = str(UUID(int=1)), str(UUID(int=2))


def ask(executions: Executions, query: str = "", *, code: int = 200) -> Any:  # noqa: ANN401 - JSON
    request = Request({"type": "http", "query_string": query.removeprefix("?").encode(), "headers": []})
    answer = asyncio.run(events_route(executions).endpoint(request))
    assert answer.status_code == code, answer.body
    return json.loads(answer.body)


def test_the_newest_comes_first_with_everything_that_is_known() -> None:
    executions = Executions()
    assert ask(executions) == []
    executions.add(
        ONE, "mail", "failed", attempt=2, seconds=0.5, queue_wait=0.01, error="  ValueError: \x1bx\nTraceback"
    )
    executions.add(TWO, "mail", "duplicate")
    newest, oldest = ask(executions)
    assert (newest["task"], newest["outcome"], newest["attempt"], newest["seconds"]) == (
        TWO,
        "duplicate",
        None,
        None,
    )
    assert oldest.pop("at").endswith("+00:00")
    assert oldest == {
        "task": ONE, "type": "mail", "attempt": 2, "outcome": "failed", "seconds": 0.5, "queue_wait": 0.01,
        "error": "ValueError: \\x1bx",
    }  # fmt: skip


def test_only_so_many_are_kept_and_errors_are_short() -> None:
    executions = Executions(kept=10)
    for number in range(25):
        executions.add(str(UUID(int=number)), "t", "failed", error="x" * 10_000)
    assert [UUID(each["task"]).int for each in ask(executions)] == list(range(24, 14, -1))
    assert len(ask(executions)[0]["error"]) == 500


def test_they_are_chosen_by_number_type_and_outcome() -> None:
    executions = Executions()
    for number in range(200):
        executions.add(str(UUID(int=number)), f"t{number % 2}", "failed" if number % 10 == 0 else "completed")
    assert len(ask(executions)) == 100
    assert len(ask(executions, "?limit=3")) == 3
    assert len(ask(executions, f"?limit={KEPT * 99}")) == 200
    assert {each["type"] for each in ask(executions, "?type=t1")} == {"t1"}
    failed = ask(executions, "?outcome=failed&type=t0&limit=5")
    assert [UUID(each["task"]).int for each in failed] == [190, 180, 170, 160, 150]
    assert ask(executions, "?type=none") == ask(executions, "?limit=0") == []


@pytest.mark.parametrize(("query", "error"), [("?limit=-1", "limit is not a number"), ("?typ=x", "unknown: typ")])
def test_a_wrong_question_is_refused(query: str, error: str) -> None:
    assert ask(Executions(), query, code=400) == {"error": error}
