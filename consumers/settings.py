"""The consumers' settings, read from the environment or a TOML file by outboxkit.settings."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from outboxkit.address import parse_address
from outboxkit.amqp.settings import BrokerSettings
from outboxkit.settings import prefix
from outboxkit.sql.url import DatabaseUrl


def _address(text: str) -> str:
    parse_address(text)
    return text


class ConsumerSettings(BrokerSettings):
    """Settings of `consumers`."""

    model_config = prefix("CONSUMERS_")

    database_url: DatabaseUrl = Field(description="write postgresql://user:password@host:5432/database")
    exchange: str = Field("outbox", min_length=1, max_length=255, description="write the name of a topic exchange")
    queue: str = Field(
        "tasks", min_length=1, max_length=250, description="write the name of a queue; '.dead' is added to it"
    )
    concurrency: int = Field(8, ge=1, le=1000, description="write how many handlers may run at once, 1 to 1000")
    # basic.qos has 16 bits for it.
    prefetch: int = Field(
        1000,
        ge=1,
        le=65535,
        description="write how many deliveries may be unacknowledged: CONSUMERS_CONCURRENCY to 65535",
    )
    handlers: str | None = Field(
        None, pattern=r"^[\w.]+$", description="write the name of the Python module that registers the handlers"
    )
    http_address: Annotated[
        str | None,
        AfterValidator(lambda text: text if text is None else _address(text)),
        Field(description="write host:port"),
    ] = None
    lease: float = Field(30.0, ge=1, le=86_400, description="write seconds, 1 to 86400")

    @field_validator("prefetch")
    @classmethod
    def _feeds_the_threads(cls, prefetch: int, info: ValidationInfo) -> int:
        if prefetch < info.data.get("concurrency", 1):
            raise ValueError("it is less than CONSUMERS_CONCURRENCY, so threads would stay idle")
        return prefetch
