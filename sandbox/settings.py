"""The sandbox's settings: the back end, or the servers to use instead."""

from typing import Literal, Self

from pydantic import Field, model_validator

from outboxkit.settings import Settings, load, prefix

Choice = Literal["auto", "docker", "local"]


class SandboxSettings(Settings):
    """`SANDBOX` selects the back end; the two URLs name servers that exist already.

    `auto` takes the named servers if they are set, else containers if a Docker engine answers, else the machine's
    own packages.
    """

    model_config = prefix("SANDBOX_")

    choice: Choice = Field("auto", validation_alias="SANDBOX")
    database_url: str | None = Field(None, description="write postgresql://user:password@host:5432/database")
    amqp_url: str | None = Field(None, description="write amqp://user:password@host:5672/vhost")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.database_url is None) != (self.amqp_url is None):
            missing = "SANDBOX_AMQP_URL" if self.amqp_url is None else "SANDBOX_DATABASE_URL"
            raise ValueError(f"{missing} is missing; named servers need both URLs")
        return self


def read() -> SandboxSettings:
    """Read the settings from the environment; raises ConfigurationProblem in one line."""
    return load(SandboxSettings)
