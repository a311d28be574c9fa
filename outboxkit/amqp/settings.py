"""The settings of everything that connects to RabbitMQ: its URL, and TLS."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from outboxkit.amqp.tls import Tls, is_loopback
from outboxkit.amqp.url import AmqpUrl
from outboxkit.settings import Settings


class BrokerSettings(Settings):
    """How to reach RabbitMQ; a subclass names the prefix of its variables."""

    amqp_url: AmqpUrl = Field(description="write amqp://user:password@host:5672/vhost")
    # Python would read an empty text as the system's authorities.
    amqp_ca: str | None = Field(
        None, min_length=1, description="write the PEM of the CA that signed RabbitMQ's certificate"
    )
    amqp_certificate: str | None = Field(None, description="write the PEM of the client certificate")
    amqp_key: SecretStr | None = Field(None, description="write the PEM of the client certificate's key")
    amqp_plaintext: bool = Field(
        default=False, description="write true to send passwords and messages unencrypted to another host"
    )

    @model_validator(mode="after")
    def _no_plaintext_by_accident(self) -> Self:
        place = urlsplit(self.amqp_url.get_secret_value())
        if place.scheme == "amqp" and not self.amqp_plaintext and not is_loopback(place.hostname or ""):
            start = self.model_config.get("env_prefix", "")
            raise ValueError(
                f"{start}AMQP_URL sends passwords and messages unencrypted to {place.hostname}; use amqps://, "
                f"or allow it with {start}AMQP_PLAINTEXT=true"
            )
        return self

    def tls(self) -> Tls:
        """Return the certificates for `amqps://`."""
        key = None if self.amqp_key is None else self.amqp_key.get_secret_value()
        return Tls(self.amqp_ca, self.amqp_certificate, key)
