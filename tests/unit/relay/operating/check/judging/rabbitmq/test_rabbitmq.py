"""The checks of RabbitMQ: each judges answers; the text of a refusal that cannot be parsed decides nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from outboxkit.amqp.answers import answer
from outboxkit.amqp.answers.answer import Answer, differing
from outboxkit.amqp.asking import Guess
from outboxkit.checks.finding import Check, Status, Verdict
from relay.operating.check.judging.rabbitmq import broker, queues
from relay.operating.check.judging.rabbitmq.broker import Broker
from relay.operating.check.judging.rabbitmq.queues import Queue
from tests.unit.relay.operating.check.judging.check_facts import ABSENT, ACCEPTED, ALTERNATE, BROKER, REFUSED, SILENT


@pytest.mark.parametrize("check", broker.CHECKS, ids=lambda check: check.id)
def test_a_ready_broker_passes(check: Check[Broker]) -> None:
    assert check.judge(BROKER).status is Status.OK


@pytest.mark.parametrize(
    ("judge", "facts", "status"),
    [
        (broker.version, replace(BROKER, version="3.7.28"), "FAIL"),
        (broker.version, replace(BROKER, version="4.0.3"), "OK"),
        (broker.capabilities, replace(BROKER, capabilities=["publisher_confirms"]), "FAIL"),
        (broker.tls, replace(BROKER, remote="mq.example"), "WARN"),
        (broker.tls, replace(BROKER, remote="mq.example", encrypted=True), "OK"),
        (broker.alarm, replace(BROKER, blocked=True), "FAIL"),
        (broker.exchange, replace(BROKER, exchange=ABSENT), "FAIL"),
        (broker.exchange, replace(BROKER, exchange=SILENT), "UNKNOWN"),
        (broker.exchange, replace(BROKER, declared=REFUSED), "OK"),
        (broker.exchange, replace(BROKER, exchange=REFUSED, declared=REFUSED), "OK"),
        (broker.exchange, replace(BROKER, exchange=REFUSED, declared=REFUSED, published=ABSENT), "FAIL"),
        (broker.exchange, replace(BROKER, exchange=REFUSED, declared=REFUSED, published=REFUSED), "UNKNOWN"),
        (broker.exchange, replace(BROKER, declared=ALTERNATE), "WARN"),
        (broker.publish, replace(BROKER, published=REFUSED), "FAIL"),
        (broker.publish, replace(BROKER, published=ABSENT), "FAIL"),
        (broker.publish, replace(BROKER, published=SILENT), "UNKNOWN"),
        (broker.mandatory, replace(BROKER, returned=Answer(answer.NOT_RETURNED)), "FAIL"),
        (broker.mandatory, replace(BROKER, returned=REFUSED), "UNKNOWN"),
        (broker.mandatory, replace(BROKER, returned=SILENT), "UNKNOWN"),
        (broker.message_size, replace(BROKER, max_message_bytes=17 << 20), "OK"),
        (broker.message_size, replace(BROKER, max_message_bytes=17 << 20, version="4.0.3"), "WARN"),
    ],
)
def test_what_is_wrong_with_a_broker_is_found(judge: Callable[[Broker], Verdict], facts: Broker, status: str) -> None:
    verdict = judge(facts)
    assert verdict.status == status
    assert bool(verdict.remedy) == (status != "OK")


def queue(**arguments: Any) -> Queue:  # noqa: ANN401 - AMQP values
    return Queue("tasks", ACCEPTED, {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()})


GOOD = queue(queue_type="quorum", delivery_limit=20, dead_letter_exchange="", dead_letter_routing_key="tasks.dead")
HIDDEN = Queue("tasks", ACCEPTED, None, "ACCESS_REFUSED")


@pytest.mark.parametrize("check", queues.CHECKS, ids=lambda check: check.id)
def test_a_queue_as_consumers_declare_it_passes(check: Check[Queue]) -> None:
    assert check.judge(GOOD).status is Status.OK


@pytest.mark.parametrize(
    ("judge", "facts", "status", "says"),
    [
        (queues.queue_type, queue(queue_type="classic"), "WARN", "classic"),
        (queues.queue_type, queue(queue_type="stream"), "OK", "stream"),
        (queues.queue_type, Queue("tasks", ABSENT, None, "NOT_FOUND"), "FAIL", "does not exist"),
        (queues.queue_type, HIDDEN, "UNKNOWN", "ACCESS_REFUSED"),
        (queues.queue_dead_letters, queue(queue_type="quorum"), "WARN", "drops rejected messages"),
        (queues.queue_dead_letters, queue(queue_type="stream"), "OK", "stream"),
        (queues.queue_dead_letters, queue(dead_letter_exchange="dlx"), "OK", "exchange 'dlx'"),
        (queues.queue_dead_letters, GOOD, "OK", "queue 'tasks.dead'"),
        (queues.queue_dead_letters, HIDDEN, "UNKNOWN", "ACCESS_REFUSED"),
        (queues.queue_delivery_limit, queue(queue_type="quorum"), "WARN", "no delivery limit"),
        (queues.queue_delivery_limit, queue(queue_type="quorum", delivery_limit=5), "WARN", "drops"),
        (queues.queue_delivery_limit, queue(queue_type="classic"), "OK", "counts no deliveries"),
        (queues.queue_delivery_limit, HIDDEN, "UNKNOWN", "ACCESS_REFUSED"),
    ],
)
def test_what_is_wrong_with_a_queue_is_found(
    judge: Callable[[Queue], Verdict], facts: Queue, status: str, says: str
) -> None:
    verdict = judge(facts)
    assert verdict.status == status
    assert says in verdict.summary


def refusal(name: str, words: str) -> str:
    return f"PRECONDITION_FAILED - inequivalent arg '{name}' for queue 'q' in vhost '/': received {words}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (refusal("x-queue-type", "'classic' but current is 'quorum'"), ("x-queue-type", "quorum")),
        (refusal("x-queue-type", "the value 'quorum' of type 'longstr' but current is none"), ("x-queue-type", None)),
        (
            refusal("x-delivery-limit", "none but current is the value '5' of type 'signedint'"),
            ("x-delivery-limit", 5),
        ),
        (
            refusal("x-dead-letter-routing-key", "none but current is the value '5' of type 'longstr'"),
            ("x-dead-letter-routing-key", "5"),
        ),
        (
            refusal("x-dead-letter-exchange", "none but current is the value '' of type 'longstr'"),
            ("x-dead-letter-exchange", ""),
        ),
        (refusal("durable", "'true' but current is 'false'"), ("durable", "false")),
        ("PRECONDITION_FAILED - invalid property 'durable' for queue 'q'", None),
        (refusal("x-max-age", "none but current is {something, new}"), None),
    ],
)
def test_a_refusal_names_what_differs(text: str, expected: tuple[str, object] | None) -> None:
    assert differing(text) == expected


def test_a_guess_learns_from_refusals_until_it_fits() -> None:
    guess = Guess()
    assert guess.learn(refusal("durable", "'true' but current is 'false'"))
    assert guess.learn(refusal("x-dead-letter-exchange", "none but current is the value '' of type 'longstr'"))
    assert guess.learn(refusal("x-queue-type", "the value 'classic' of type 'longstr' but current is none"))
    assert guess == Guess(durable=False, arguments={"x-dead-letter-exchange": ""})


def test_a_guess_learns_nothing_from_what_it_cannot_read() -> None:
    guess = Guess()
    assert not guess.learn("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q'")
    assert not guess.learn(refusal("exclusive", "'false' but current is 'true'"))
    assert guess == Guess()
