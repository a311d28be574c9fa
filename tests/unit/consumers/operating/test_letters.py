"""What a dead letter is: of a task, an event, or neither."""

from typing import Any, cast

import pika

from consumers.operating.letters import judge, judge_events
from consumers.settings import ConsumerSettings
from outboxkit.amqp.consuming.dead_letters import Letter


def letter(headers: dict[str, Any], body: bytes = b"{}") -> Letter:
    properties = pika.BasicProperties(headers=headers, message_id="m", type="paid", timestamp=1_700_000_000)
    return Letter(1, "m", headers, "rejected", None, "order.paid", 0, properties, body)


EVENT: dict[str, Any] = {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 7}


def test_of_the_dead_letters_of_events_each_is_an_event_or_undecodable() -> None:
    found = judge_events([letter(EVENT), letter({}), letter(EVENT, b"no JSON")])
    assert [(each.state, each.about.partition("(")[0]) for each in found] == [
        ("event", "order.paid: order 42, version 7"),
        ("undecodable", "header aggregate_type is None, not a text"),
        ("undecodable", "its body is not JSON "),
    ]


def test_of_the_dead_letters_of_tasks_an_event_is_not_taken_for_something_that_may_be_removed() -> None:
    asks_no_database = cast("ConsumerSettings", None)
    alphanumeric: dict[str, Any] = {name.replace("_", ""): value for name, value in EVENT.items()}
    others = [letter(EVENT), letter(alphanumeric), letter({"aggregate_type": "task"}), letter({})]
    assert [each.state for each in judge(asks_no_database, others)] == ["event", "event", "undecodable", "undecodable"]
