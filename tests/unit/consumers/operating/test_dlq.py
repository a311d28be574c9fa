"""`consumers dlq` and RabbitMQ's limit of 20: what would be dropped is published again, and no more than that."""

import json
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pytest
from typer.testing import CliRunner, Result

from consumers.operating import dlq
from consumers.operating.letters import Judged, judge_events
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.dead_letters import Letter
from outboxkit.errors import Problem
from tests.support.dead_letters import Broker, Message

Run: TypeAlias = Callable[..., Result]
EVENT: dict[str, Any] = {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 7}
DEATH = {"reason": "delivery_limit", "time": datetime(2026, 1, 2, 3, tzinfo=UTC), "routing-keys": ["order.paid"]}
DIED = {"x-death": [DEATH], "x-first-death-queue": "events", "x-first-death-reason": "delivery_limit"}
WORN = 21
"""What a message that died at the delivery limit begins with in the dead-letter queue, from 4.3 on."""


def event(number: int, count: int = 0) -> Message:
    return Message(f"m{number}", {**EVENT, **DIED}, count)


def broken(number: int, count: int = 0) -> Message:
    return Message(f"m{number}", dict(DIED), count)


def broker(version: str, *dead: Message) -> Broker:
    return Broker(version, **{"events": [], "events.dead": [*dead]})


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMERS_DATABASE_URL", "postgresql://localhost/none")
    monkeypatch.setenv("CONSUMERS_AMQP_URL", "amqp://localhost")
    monkeypatch.setenv("CONSUMERS_EVENTS_QUEUE", "events")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(on: Broker, *arguments: str) -> Result:
        monkeypatch.setattr(Connection, "open", on.open)
        return CliRunner().invoke(dlq.app, [*arguments, "--events", "--json"])

    return command


def document(result: Result) -> dict[str, Any]:
    assert result.exception is None, result.output
    return dict(json.loads(result.output))


def listed(result: Result) -> tuple[list[str], int]:
    found = document(result)
    assert all(each["state"] == "event" and each["reason"] == "delivery_limit" for each in found["messages"])
    assert all(each["died_at"].startswith("2026-01-02 03:00") for each in found["messages"])
    return [each["message_id"] for each in found["messages"]], found["more"]


def test_a_look_publishes_no_more_than_it_lists(run: Run) -> None:
    on = broker("4.3.6", *(event(number, WORN) for number in range(5)))
    assert listed(run(on, "list", "--limit", "1")) == (["m0"], 4)
    assert on.published == [("events.dead", "m0")]
    assert on.ids("events.dead") == ["m1", "m2", "m3", "m4", "m0"]
    assert listed(run(on, "list", "--limit", "2")) == (["m1", "m2"], 3)
    assert len(on.published) == 3


def test_what_is_published_again_comes_behind_the_others_and_is_listed_once(run: Run) -> None:
    on = broker("4.3.6", event(0, WORN), event(1), event(2, WORN), event(3, 14))
    assert listed(run(on, "list")) == (["m0", "m1", "m2", "m3"], 0)
    assert on.ids("events.dead") == ["m1", "m3", "m0", "m2"]
    assert on.most_held <= 3, "one that would be dropped is held alone, with those that would not"
    for _ in range(3):  # m3 wears out meanwhile
        assert listed(run(on, "list"))[1] == 0
    assert sorted(on.ids("events.dead")) == ["m0", "m1", "m2", "m3"]
    assert on.published == [("events.dead", each) for each in ("m0", "m2", "m3")]


def test_of_messages_that_would_be_dropped_a_look_holds_one_at_a_time(run: Run) -> None:
    on = broker("4.3.6", *(event(number, WORN) for number in range(50)))
    assert listed(run(on, "list", "--limit", "50"))[1] == 0
    document(run(on, "redrive", "--dry-run"))
    assert on.most_held == 50, "renewed ones are put back by the second look"
    on = broker("4.3.6", *(event(number, WORN) for number in range(50)))
    document(run(on, "redrive", "--dry-run"))
    assert on.most_held == 1
    assert len(on.published) == 50


def test_a_redrive_publishes_each_message_once(run: Run) -> None:
    on = broker("4.3.6", *(event(number, WORN) for number in range(250)))
    assert document(run(on, "redrive", "--yes"))["redriven"] == 250
    assert on.published == [("events", f"m{number}") for number in range(250)]
    assert on.ids("events.dead") == []
    assert on.most_held <= 100
    assert not any(name.startswith("x-d") for each in on.queues["events"] for name in each.headers)


def test_what_a_redrive_leaves_is_published_again_and_what_it_removes_is_not(run: Run) -> None:
    on = broker("4.3.6", broken(0, WORN), event(1, WORN), broken(2), event(3, WORN))
    done = document(run(on, "redrive", "--yes", "--id", "m1", "--id", "m0"))
    assert (done["redriven"], done["left"]) == (1, 1)
    assert on.published == [("events.dead", "m0"), ("events", "m1"), ("events.dead", "m3")]
    assert on.ids("events.dead") == ["m2", "m0", "m3"]
    done = document(run(on, "redrive", "--yes", "--discard"))
    assert (done["redriven"], done["discarded"]) == (1, 2)
    assert on.published[3:] == [("events", "m3")]
    assert on.ids("events.dead") == []


@pytest.mark.parametrize("arguments", [("list",), ("redrive", "--dry-run")], ids=" ".join)
@pytest.mark.parametrize(
    ("version", "count"), [("3.10.8", 99), ("3.13.7", WORN), ("4.0.5", WORN), ("4.2.9", WORN), ("4.3.0", 14)]
)
def test_what_would_not_be_dropped_stays_in_its_place(
    run: Run, version: str, count: int, arguments: tuple[str, ...]
) -> None:
    """Up to 4.2, the count of the first queue is shown at the first look only, and not counted on."""
    first = event(0)
    first.headers["x-delivery-count"] = count
    on = broker(version, first, event(1))
    document(run(on, *arguments))
    assert (on.published, on.ids("events.dead")) == ([], ["m0", "m1"])


def test_the_question_before_a_redrive_takes_nothing(run: Run) -> None:
    on = broker("4.3.6", event(0, WORN))
    assert run(on, "redrive").exit_code == 1, "nobody answers"
    assert (on.published, on.most_held, on.ids("events.dead")) == ([], 0, ["m0"])


def test_what_the_queue_does_not_take_is_kept(run: Run) -> None:
    on = broker("4.3.6", event(0, WORN), event(1), event(2, WORN))
    del on.queues["events"]
    result = run(on, "redrive", "--yes")
    assert isinstance(result.exception, Problem)
    assert "start one, and repeat this" in result.exception.remedy
    assert sorted(on.ids("events.dead")) == ["m0", "m1", "m2"]


def test_when_the_dead_letter_queue_takes_nothing_more_one_message_is_at_stake(run: Run) -> None:
    on = broker("4.3.6", event(0, WORN), event(1, WORN))
    on.full = {"events.dead"}
    result = run(on, "list")
    assert isinstance(result.exception, Problem)
    assert "m0" in str(result.exception)
    assert "rabbitmqctl list_policies" in result.exception.remedy
    assert on.ids("events.dead") == ["m1"]
    on.full = set()
    assert listed(run(on, "list")) == (["m1"], 0)


@pytest.mark.parametrize("arguments", [("list",), ("redrive", "--dry-run"), ("redrive", "--yes")], ids=" ".join)
def test_an_interrupt_at_any_moment_loses_nothing(
    run: Run, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(interrupted_at: int) -> int:
        """Return how many moments there were."""
        moments = 0

        def moment() -> None:
            nonlocal moments
            moments += 1
            if moments == interrupted_at:
                signal.raise_signal(signal.SIGINT)

        def judge(letters: Sequence[Letter]) -> list[Judged]:
            moment()
            return judge_events(letters)

        monkeypatch.setattr(dlq, "judge_events", judge)
        on = broker("4.3.6", event(0, WORN), broken(1, WORN), event(2), event(3, WORN), broken(4))
        on.step = moment
        result = run(on, *arguments)
        assert result.exit_code == (130 if interrupted_at else 0), (interrupted_at, result.output)
        dead = on.ids("events.dead")
        assert {*dead, *on.ids("events")} == {"m0", "m1", "m2", "m3", "m4"}, interrupted_at
        assert len(dead) == len(set(dead)), interrupted_at
        return moments

    moments = play(0)
    assert moments > 10
    for each in range(1, moments + 1):
        play(each)
