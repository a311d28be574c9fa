"""pika's errors as Problems with a remedy; acceptance/test_tls.py has those of real servers."""

import ssl

import pytest
from pika.exceptions import ChannelClosedByBroker, StreamLostError

from outboxkit.amqp.errors import BrokerUnavailable, PreconditionFailed, TlsRefused
from outboxkit.amqp.refusals import problem


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


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'tasks' in vhost '/'", "name another"),
        ("PRECONDITION_FAILED - message size 200 is larger than configured max size 100", "see RabbitMQ's log"),
    ],
)
def test_only_a_406_about_properties_suggests_to_delete_something(text: str, remedy: str) -> None:
    found = problem(ChannelClosedByBroker(406, text), "localhost:5672/")
    assert type(found) is PreconditionFailed
    assert found.what == f"RabbitMQ at localhost:5672/ answered 406: {text}"
    assert remedy in found.remedy
    assert ("delete" in found.remedy) == ("inequivalent" in text)
