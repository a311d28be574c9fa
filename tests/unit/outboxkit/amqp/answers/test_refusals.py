"""pika's errors as Problems with a remedy; acceptance/test_tls.py has those of real servers."""

import ssl

import pytest
from pika.exceptions import ChannelClosedByBroker, StreamLostError

from outboxkit.amqp.answers import preconditions
from outboxkit.amqp.answers.refusals import problem
from outboxkit.amqp.errors import (
    AccessRefused,
    BrokerUnavailable,
    ChannelRefused,
    PreconditionFailed,
    TlsRefused,
)


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] x"), TlsRefused, "give the CA"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] x"), TlsRefused, "does not speak TLS"),
        (ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] x"), TlsRefused, "another client certificate"),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), BrokerUnavailable, "another client certificate"),
        (ConnectionResetError(104, "Connection reset by peer"), BrokerUnavailable, "check that it runs"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OSError) else "",
)
def test_an_error_of_tls_says_what_to_fix(error: OSError, kind: type[Exception], remedy: str) -> None:
    found = problem(StreamLostError(f"Stream connection lost: {error!r}", error), "localhost:5671/")
    assert type(found) is kind
    assert remedy in found.remedy
    assert ("client certificate" in found.remedy) == ("client certificate" in remedy)


@pytest.mark.parametrize(("code", "kind"), [(403, AccessRefused), (404, ChannelRefused), (406, PreconditionFailed)])
def test_a_right_that_is_missing_is_told_from_what_does_not_exist(code: int, kind: type[Exception]) -> None:
    assert type(problem(ChannelClosedByBroker(code, "refused"), "localhost:5672/")) is kind


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("inequivalent arg 'durable' for queue 'tasks' in vhost '/'", "set CONSUMERS_QUEUE to a name"),
        ("inequivalent arg 'type' for exchange 'outbox' in vhost '/': received 'topic'", "set RELAY_EXCHANGE and"),
        ("invalid arg 'x-delivery-limit' for queue 'tasks' in vhost '/'", "use RabbitMQ 3.8 or later"),
        ("delivery acknowledgement on channel 1 timed out. Timeout value used: 6000 ms", "set consumer_timeout"),
        ("message size 200 is larger than configured max size 100", "set RELAY_MAX_MESSAGE_BYTES"),
        ("unknown delivery tag 7", "report it"),
        ("something else", "see RabbitMQ's log"),
    ],
)
def test_each_cause_of_a_406_has_its_own_remedy_and_none_deletes_what_is_in_use(text: str, remedy: str) -> None:
    found = problem(ChannelClosedByBroker(406, f"PRECONDITION_FAILED - {text}"), "localhost:5672/")
    assert type(found) is PreconditionFailed
    assert found.what == f"RabbitMQ at localhost:5672/ answered 406: PRECONDITION_FAILED - {text}"
    assert found.remedy.find(remedy) >= 0
    assert "delete" not in found.remedy.partition("start the consumers")[0]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("inequivalent arg 'x-single-active-consumer' for queue 'a' in vhost '/'", "set CONSUMERS_EVENTS_QUEUE to a"),
        ("inequivalent arg 'x-queue-type' for queue 'a.dead' in vhost '/'", "set CONSUMERS_EVENTS_QUEUE to a name"),
        ("inequivalent arg 'type' for exchange 'outbox' in vhost '/'", "set RELAY_EXCHANGE and"),
        ("something else", "see RabbitMQ's log"),
    ],
)
def test_a_queue_of_events_has_a_remedy_of_its_own_because_nobody_writes_events_again(text: str, remedy: str) -> None:
    found = preconditions.remedy_of_events(f"RabbitMQ at localhost:5672/ answered 406: PRECONDITION_FAILED - {text}")
    assert remedy in found
    assert "CONSUMERS_QUEUE" not in found
    assert "delete" not in found.partition("when they have emptied it")[0]


def test_a_queue_of_a_topology_has_a_remedy_of_its_own() -> None:
    text = "RabbitMQ at localhost/ answered 406: PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'a'"
    found = preconditions.remedy_of_topology(text)
    assert "correct CONSUMERS_EVENTS_QUEUE" in found
    assert "delete" not in found
    assert preconditions.remedy_of_topology("something else") == "see RabbitMQ's log"
