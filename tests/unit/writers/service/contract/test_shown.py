"""Answers are JSON that has what Postgres has written, digit by digit."""

import json

from writers.service.contract import shown

ROW = '{"id":"a","payload":{"n":12345678901234567890.50, "}":"}"}}'


def test_a_task_has_its_holder_and_its_payload_as_it_was() -> None:
    text = shown.task(ROW, '{"instance" : "first", "since" : null}')
    assert '"n":12345678901234567890.50' in text
    assert json.loads(text) == {**json.loads(ROW), "locked_by": {"instance": "first", "since": None}}


def test_a_task_that_nobody_holds_says_so() -> None:
    assert json.loads(shown.task(ROW, None))["locked_by"] is None


def test_a_page_has_its_tasks_in_their_order() -> None:
    tasks = [shown.task(f'{{"n":{n}}}', None) for n in range(3)]
    found = json.loads(shown.page(tasks, "the-next"))
    assert ([task["n"] for task in found["tasks"]], found["next"]) == ([0, 1, 2], "the-next")
    assert json.loads(shown.page([], None)) == {"tasks": [], "next": None}
