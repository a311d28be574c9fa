"""The settings of everything that connects to RabbitMQ: its URL, and TLS."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from outboxkit.amqp.tls import Tls, is_loopback
from outboxkit.amqp.url import EXAMPLE, nodes
from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import Settings


def _checked(url: SecretStr) -> SecretStr:
    try:
        nodes(url.get_secret_value())
    except ConfigurationProblem as problem:
        raise ValueError(problem.what) from problem
    return url


class BrokerSettings(Settings):
    """How to reach RabbitMQ; a subclass names the prefix of its variables."""

    amqp_url: Annotated[SecretStr, AfterValidator(_checked)] = Field(description=EXAMPLE)
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
        plain = [node.host for node in nodes(self.amqp_url.get_secret_value()) if not node.tls]
        remote = [host for host in plain if not is_loopback(host)]
        if remote and not self.amqp_plaintext:
            start = self.model_config.get("env_prefix", "")
            raise ValueError(
                f"{start}AMQP_URL sends passwords and messages unencrypted to {', '.join(remote)}; use amqps://, "
                f"or allow it with {start}AMQP_PLAINTEXT=true"
            )
        return self

    @model_validator(mode="after")
    def _no_certificate_without_a_use(self) -> Self:
        start = self.model_config.get("env_prefix", "")
        given = [name for name in ("ca", "certificate", "key") if getattr(self, f"amqp_{name}") is not None]
        if given and not any(node.tls for node in nodes(self.amqp_url.get_secret_value())):
            raise ValueError(
                f"{start}AMQP_{given[0].upper()} is set, and {start}AMQP_URL does not use TLS; write amqps:// there, "
                f"or unset {start}AMQP_{given[0].upper()}"
            )
        if given[-1:] == ["key"] and "certificate" not in given:
            raise ValueError(f"{start}AMQP_KEY is set without {start}AMQP_CERTIFICATE; set both, or neither")
        return self

    def tls(self) -> Tls:
        """Return the certificates for `amqps://`."""
        key = None if self.amqp_key is None else self.amqp_key.get_secret_value()
        return Tls(self.amqp_ca, self.amqp_certificate, key)
