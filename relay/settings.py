"""The relay's settings, read from the environment or a TOML file by outboxkit.settings."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from outboxkit.address import parse_address
from outboxkit.amqp.settings import BrokerSettings
from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import prefix
from outboxkit.sql.url import DatabaseUrl
from relay.core.hashing.partition import Partition
from relay.core.hashing.spread import Spread
from relay.core.messages.cloudevents import Prefix
from relay.core.messages.routing import check_template
from relay.sources.layout import NATIVE, Layout, layout
from relay.storage.facts import Owner
from relay.storage.slots.replay_slot import name_of


def _address(text: str | None) -> str | None:
    if text:
        parse_address(text)
    return text or None


def _template(text: str) -> str:
    try:
        return check_template(text)
    except ConfigurationProblem as problem:
        raise ValueError(problem.what) from problem


def _partition(text: str) -> str:
    return str(Partition.parse(text))


def _topology(text: str | None) -> str | None:
    return str(Spread.parse(text)) if text else None


def _keys(text: str) -> str:
    keys = [key.strip() for key in text.split(",")]
    if not all(keys):
        raise ValueError("a routing key is empty")
    if any(len(key.encode()) > _LONGEST_KEY for key in keys):
        raise ValueError(f"a routing key is longer than {_LONGEST_KEY} bytes")
    return ",".join(keys)


def _duration(text: object) -> object:
    """Read `7d`, `12h`, `30min` or `off`."""
    if not isinstance(text, str):
        return text
    if text == "off":
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("it is not a duration")
    duration = timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    if duration > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST.days}d")
    return duration


def _or_off(text: object) -> object:
    return None if text == "off" else text


_LONGEST = timedelta(days=9999)
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([1-9][0-9]{0,6})(s|min|h|d)")

_LONGEST_SLOT = 63
_LONGEST_KEY = 255
_MOST_SECONDS = 366 * 86_400
Seconds = Annotated[float, Field(gt=0, le=_MOST_SECONDS, allow_inf_nan=False)]


class RelaySettings(BrokerSettings):
    """The settings of `relay`."""

    model_config = prefix("RELAY_")

    database_url: DatabaseUrl = Field(
        description="write postgresql://user:password@host:5432/database; the role needs REPLICATION, except to poll"
    )
    name: str = Field("relay", min_length=1, max_length=40, description="a short name: the key of the checkpoint")
    slot: str = Field(
        "outbox_relay", pattern=r"^[a-z0-9_]{1,63}$", description="write 1 to 63 lower-case letters, digits and _"
    )
    partition: Annotated[
        str,
        AfterValidator(_partition),
        Field(description="write I/N, such as 1/4: of N relays that share the events of the outbox, this is number I"),
    ] = "1/1"
    exchange: str = Field("outbox", min_length=1, max_length=255, description="write the name of a topic exchange")
    routing_key: Annotated[
        str,
        AfterValidator(_template),
        Field(description="write text with the fields {aggregate_type}, {aggregate_id}, {event_type}"),
    ] = "{aggregate_type}.{event_type}"
    topology: Annotated[
        str | None,
        AfterValidator(_topology),
        Field(description="write hash:N or stream:N, such as hash:8: each event names one of N queues in a header"),
    ] = None
    topology_keys: Annotated[
        str,
        AfterValidator(_keys),
        Field(description="write the routing keys that these queues get, with commas, such as order.*,invoice.#"),
    ] = "#"
    format: Literal["plain", "cloudevents"] = Field("plain", description="write plain or cloudevents")
    cloudevents_prefix: Prefix = Field(
        "cloudEvents_", description="write cloudEvents_, cloudEvents: or ce-, what the consumers of CloudEvents expect"
    )
    max_in_flight: int = Field(1000, ge=1, le=100_000, description="write how many messages may be unconfirmed")
    max_message_bytes: int = Field(
        1 << 20, ge=1024, le=128 << 20, description="write how many bytes of body and headers RabbitMQ takes"
    )
    on_return: Literal["park", "retry", "halt"] = Field(
        "park", description="write park, retry or halt: what becomes of a message that no queue takes"
    )
    confirm_timeout: Seconds = Field(
        30.0, description="write after how many seconds without a confirm the connection is given up"
    )
    release_slot_after: Seconds = Field(
        15.0, description="write after how many seconds without the broker the slot is let go, but kept"
    )
    source: Literal["auto", "wal", "polling"] = Field(
        "auto", description="write auto (the WAL, and polling while it cannot be read), wal or polling"
    )
    poll_strategy: Literal["snapshot", "skip_locked"] = Field(
        "snapshot",
        description="write snapshot (one poller, in order) or skip_locked (any number of pollers, and no order)",
    )
    poll_lock: Literal["none", "advisory"] = Field(
        "none", description="write advisory to let one poller at a time publish events of an aggregate, or none"
    )
    poll_leader: bool = Field(
        default=False, description="write true to let one poller of several be active, with skip_locked too"
    )
    poll_interval: Seconds = Field(1.0, description="write how many seconds lie between two polls of the table")
    poll_batch: int = Field(1000, ge=1, le=100_000, description="write how many rows a poll reads at a time")
    poll_notify: bool = Field(
        default=False,
        description="write true to poll at once when something is written; `relay setup --notify` makes the trigger",
    )
    return_after: float = Field(
        60.0, ge=0, le=_MOST_SECONDS, allow_inf_nan=False,
        description="write for how many seconds the WAL must have been fine before polling ends",
    )  # fmt: skip
    slots_per_hour: int = Field(3, ge=0, description="write how many slots may be made within an hour")
    slot_failover: bool = Field(
        default=False, description="write true to have standbys keep a copy of the slot (PostgreSQL 17 and later)"
    )
    slot_budget: int | None = Field(
        None,
        ge=1 << 20,
        le=1 << 62,
        description="write how many bytes of WAL, such as 10737418240, the slot may retain before it is dropped and "
        "the table is polled",
    )
    replay_window: Annotated[
        Annotated[int, Field(ge=1 << 20, le=1 << 62)] | None,
        BeforeValidator(_or_off),
        Field(description="write how many bytes of WAL, such as 1073741824, are kept for replays; or off"),
    ] = None
    plugin: Literal["auto", "wal2json", "pgoutput"] = Field("auto", description="write auto, wal2json or pgoutput")
    message_prefix: str | None = Field(
        None,
        min_length=1,
        description="write the prefix of the logical messages that are the outbox, instead of a table",
    )
    outbox_table: str = Field("outbox.event", pattern=r"^[^.\"]+\.[^.\"]+$", description="write schema.table")
    outbox_layout: Literal["native", "debezium"] = Field("native", description="write native or debezium")
    outbox_columns: dict[str, str] = Field(
        default_factory=dict,
        description='write JSON (in TOML a table) from event field to column, such as {"payload": "body"}',
    )
    outbox_time_unit: Literal["s", "ms", "us", "ns"] = Field(
        "ms", description="write s, ms, us or ns: the unit of times that are numbers since 1970"
    )
    retention: Annotated[
        timedelta | None,
        BeforeValidator(_duration),
        Field(description="write for how long published events stay, such as 30min, 12h or 7d, at most 9999d; or off"),
    ] = timedelta(days=7)
    shadow: Literal["off", "polling", "wal"] = Field(
        "off", description="write polling or wal, the source that is read and compared beside the live stream; or off"
    )
    audit_every: Annotated[
        timedelta | None,
        BeforeValidator(_duration),
        Field(
            description="write how often the relay compares the outbox with what was confirmed, such as 5min; or off"
        ),
    ] = None
    http_address: Annotated[str | None, AfterValidator(_address), Field(description="write host:port")] = (
        "127.0.0.1:9187"
    )
    traces: bool = Field(
        default=False,
        description="write true to have a span for each message that belongs to a trace; OTEL_* say where",
    )
    ready_lag: Seconds = Field(60.0, description="write at how many seconds of lag /readyz says no")

    @model_validator(mode="after")
    def _no_prefix_without_a_use(self) -> Self:
        if "cloudevents_prefix" in self.model_fields_set and self.format != "cloudevents":
            raise ValueError("RELAY_CLOUDEVENTS_PREFIX is set, and RELAY_FORMAT is not cloudevents; set that too")
        return self

    @model_validator(mode="after")
    def _shadow_has_a_live_stream(self) -> Self:
        if self.shadow == "off":
            return self
        if self.poll_strategy == "skip_locked":
            raise ValueError(
                "RELAY_SHADOW is set, and RELAY_POLL_STRATEGY is skip_locked, which keeps no order that could be "
                "compared; unset one"
            )
        if self.message_prefix is not None:
            raise ValueError("RELAY_SHADOW is set, and RELAY_MESSAGE_PREFIX has no table; unset one")
        if self.source == self.shadow:
            raise ValueError(
                f"RELAY_SHADOW and RELAY_SOURCE are both {self.shadow}, so there is nothing to compare; "
                f"set RELAY_SHADOW={'polling' if self.shadow == 'wal' else 'wal'}"
            )
        return self

    @model_validator(mode="after")
    def _pollers_share_a_table(self) -> Self:
        if self.poll_strategy == "skip_locked":
            if self.source != "polling":
                raise ValueError(
                    "RELAY_POLL_STRATEGY is skip_locked, which keeps no position that the WAL could go on from, and "
                    f"RELAY_SOURCE is {self.source}; set RELAY_SOURCE=polling, or RELAY_POLL_STRATEGY=snapshot"
                )
            if self.message_prefix is not None:
                raise ValueError("RELAY_POLL_STRATEGY is skip_locked, and RELAY_MESSAGE_PREFIX has no table; unset one")
        elif self.poll_lock != "none" or self.poll_leader:
            name = "RELAY_POLL_LEADER" if self.poll_leader else "RELAY_POLL_LOCK"
            raise ValueError(f"{name} is set, and RELAY_POLL_STRATEGY is not skip_locked; set that too")
        return self

    @model_validator(mode="after")
    def _a_partition_begins_by_polling(self) -> Self:
        if Partition.parse(self.partition).whole:
            return self
        if self.poll_strategy == "skip_locked":
            raise ValueError(
                "RELAY_PARTITION is set, and RELAY_POLL_STRATEGY is skip_locked, whose pollers share the table anyhow; "
                "unset one"
            )
        if self.message_prefix is not None:
            raise ValueError("RELAY_PARTITION is set, and RELAY_MESSAGE_PREFIX has no table to begin from; unset one")
        if self.source == "wal":
            raise ValueError(
                "RELAY_PARTITION is set, and RELAY_SOURCE is wal: the relays of an outbox begin one after another, and "
                "each polls first what no slot of its own has; set RELAY_SOURCE=auto"
            )
        if self.outbox_table == NATIVE.name and self.layout(partitioned=False).aggregate != NATIVE.aggregate:
            raise ValueError(
                f"RELAY_PARTITION is set, and RELAY_OUTBOX_COLUMNS names other columns of {NATIVE.name} for the "
                "aggregate than Postgres hashes; take aggregate_type and aggregate_id out of it"
            )
        return self

    @model_validator(mode="after")
    def _the_window_has_a_slot(self) -> Self:
        if self.replay_window is None:
            return self
        if self.source == "polling":
            raise ValueError(
                "RELAY_REPLAY_WINDOW is set, and RELAY_SOURCE is polling: no slot keeps WAL; replays read the table, "
                "so unset RELAY_REPLAY_WINDOW"
            )
        if len(name_of(self.slot)) > _LONGEST_SLOT:
            raise ValueError(
                f"RELAY_REPLAY_WINDOW is set, and its slot would be {name_of(self.slot)}, which is longer than the "
                f"{_LONGEST_SLOT} characters that Postgres allows; set RELAY_SLOT to a shorter name, or unset "
                "RELAY_REPLAY_WINDOW"
            )
        return self

    @property
    def table(self) -> str | None:
        """The outbox table as `schema.table`; None if the outbox is logical messages."""
        return None if self.message_prefix else self.outbox_table

    @property
    def spread(self) -> Spread | None:
        """Into which queues events are spread; None if no event names one."""
        return None if self.topology is None else Spread.parse(self.topology)

    @property
    def outboxes(self) -> list[str]:
        """What is read, as the stored position names it: a table as `schema.table`, or `message:prefix`."""
        return [self.table or f"message:{self.message_prefix}"]

    @property
    def owner(self) -> Owner:
        """Which relay the slot and the stored position belong to."""
        aggregate = self.layout(partitioned=False).aggregate
        return Owner(self.name, self.slot, self.outboxes, Partition.parse(self.partition), aggregate)

    def layout(self, *, partitioned: bool) -> Layout:
        """Return the layout of the outbox table; `partitioned` is what the server says of it."""
        return layout(
            self.outbox_layout,
            self.outbox_table,
            self.outbox_columns,
            partitioned=partitioned,
            time_unit=self.outbox_time_unit,
        )

    @field_validator("outbox_columns")
    @classmethod
    def _columns_fit_events(cls, columns: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if kind := info.data.get("outbox_layout"):  # otherwise that is what is wrong
            try:
                layout(kind, "", columns, partitioned=False)
            except ConfigurationProblem as problem:
                raise ValueError(f"{problem.what}; {problem.remedy}") from problem
        return columns
