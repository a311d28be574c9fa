"""TLS to the broker: always verified, optionally with a CA of its own and a client certificate.

https://www.rabbitmq.com/docs/ssl. Certificates and keys are given as PEM text, like other secrets. Python's ssl reads
client certificates only from files, so they go through an anonymous file in memory.
"""

import os
import ssl
from dataclasses import dataclass
from ipaddress import ip_address

from outboxkit.errors import ConfigurationProblem


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts: the trusted CA (None: the system's authorities), and the client certificate with its key."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies certificate and host name; raises ConfigurationProblem for unusable PEM."""
        try:
            context = ssl.create_default_context(cadata=self.ca)
            if self.certificate is not None:
                pem = f"{self.certificate}\n{self.key or ''}"
                descriptor = os.memfd_create("client-certificate")
                with os.fdopen(descriptor, "w") as file:
                    file.write(pem)
                    file.flush()
                    context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: text that is not ASCII
            raise ConfigurationProblem(
                f"the TLS certificates for RabbitMQ cannot be used: {error}",
                remedy="give PEM: the CA's certificate, and both the client's certificate and its key",
            ) from error
        return context


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine, without asking a name server."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
