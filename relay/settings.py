"""The relay's settings, read from the environment or a TOML file by runtime.settings."""

from typing import Annotated

from pydantic import AfterValidator, Field

from messaging.url import AmqpUrl
from relay.routing import check_template
from runtime.errors import ConfigurationProblem
from runtime.settings import Settings, prefix
from sql.url import DatabaseUrl


def _template(text: str) -> str:
    try:
        return check_template(text)
    except ConfigurationProblem as problem:
        raise ValueError(problem.what) from problem


class RelaySettings(Settings):
    """What `relay` needs to know."""

    model_config = prefix("RELAY_")

    database_url: DatabaseUrl = Field(
        description="write postgresql://user:password@host:5432/database; the role needs REPLICATION"
    )
    amqp_url: AmqpUrl = Field(description="write amqp://user:password@host:5672/vhost")
    name: str = Field("relay", min_length=1, max_length=40, description="a short name: the key of the checkpoint")
    slot: str = Field(
        "outbox_relay", pattern=r"^[a-z0-9_]{1,63}$", description="write 1 to 63 lower-case letters, digits and _"
    )
    exchange: str = Field("outbox", min_length=1, max_length=255, description="write the name of a topic exchange")
    routing_key: Annotated[
        str,
        AfterValidator(_template),
        Field(description="write text with the fields {aggregate_type}, {aggregate_id}, {event_type}"),
    ] = "{aggregate_type}.{event_type}"
    max_in_flight: int = Field(1000, ge=1, le=100_000, description="write how many messages may be unconfirmed")
