"""Steps that are written once run alike in a thread and on the loop; and which SQL rolls back a transaction."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from consumers.handlers.transactions.connections import rolls_back
from consumers.handlers.transactions.steps import Steps, take, take_async


def _steps(call: Callable[[], Any], seen: list[object]) -> Steps[str]:
    try:
        seen.append((yield call))
    except LookupError as error:
        seen.append(error)
    seen.append((yield call))
    return "done"


def test_in_a_thread_the_steps_get_what_the_calls_return_or_raise_and_end_with_their_value() -> None:
    seen: list[object] = []
    values = iter([LookupError("first"), 2])

    def call() -> object:
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return value

    assert take(_steps(call, seen)) == "done"
    assert [str(each) for each in seen] == ["first", "2"]


def test_on_the_loop_they_are_awaited() -> None:
    seen: list[object] = []

    async def call() -> int:
        await asyncio.sleep(0)
        return 7

    assert asyncio.run(take_async(_steps(call, seen))) == "done"
    assert seen == [7, 7]


def test_what_the_steps_do_not_catch_comes_out() -> None:
    def call() -> object:
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        take(_steps(call, []))


@pytest.mark.parametrize(
    "text",
    [
        "ROLLBACK",
        " rollback ; ",
        "SELECT 1; ABORT",
        "/* a */ Rollback Work",
        "ROLLBACK AND CHAIN",
        "-- x\nROLLBACK",
        "abort;",
    ],
)
def test_a_rollback_is_seen_wherever_it_stands(text: str) -> None:
    assert rolls_back(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'ROLLBACK'",
        "SELECT 1 AS rollback",
        "ROLLBACK TO a",
        "SAVEPOINT a; rollback work to savepoint a",
        "ROLLBACK TRANSACTION TO a",
        "SELECT $x$; ROLLBACK;$x$",
        'INSERT INTO "a; ABORT" VALUES (1)',
        "INSERT INTO t VALUES ('it''s; abort')",
        "SELECT 1 -- ; ROLLBACK",
        "SELECT abort_reason FROM t; SELECT aborted FROM t",
        "COMMIT",
    ],
)
def test_what_only_contains_the_word_is_none(text: str) -> None:
    assert not rolls_back(text)
