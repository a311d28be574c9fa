"""What pika's errors about TLS mean to whoever has to mend it; those of real servers are in acceptance/test_tls.py."""

import ssl

import pytest
from pika.exceptions import StreamLostError

from outboxkit.amqp.errors import BrokerUnavailable, TlsRefused, problem


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
def test_a_connection_that_tls_ends_tells_what_to_mend(error: OSError, kind: type[Exception], remedy: str) -> None:
    found = problem(StreamLostError(f"Stream connection lost: {error!r}", error), "localhost:5671/")
    assert type(found) is kind
    assert remedy in found.remedy
    assert ("client certificate" in found.remedy) == ("client certificate" in remedy)
