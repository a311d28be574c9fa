"""The consumers' settings, read from the environment or a TOML file by outboxkit.settings."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from consumers.durations import ALLOWED, seconds
from consumers.events.running.policy import MOST_SECONDS
from consumers.events.running.policy import Policy as EventPolicy
from consumers.handlers.declaring.retries import Policy
from consumers.maintenance.declaring.schedule import time_zone
from consumers.second_lock.address import EXAMPLE, RedisUrl
from outboxkit.address import parse_address
from outboxkit.amqp.settings import BrokerSettings
from outboxkit.amqp.topology import dead_letter_queue
from outboxkit.settings import prefix
from outboxkit.sql.url import DatabaseUrl


def _address(text: str) -> str:
    parse_address(text)
    return text


def _seconds(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


def _retention(value: object) -> object:
    """Read a duration; `off`, `none` and 0 keep all."""
    if isinstance(value, str) and value in {"off", "none"}:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    return timedelta(seconds=seconds(value)) or None


def _zone(name: str) -> str:
    time_zone(name)
    return name


# Below a tenth of a second, a job would do little but take its lock.
Interval = Annotated[float, BeforeValidator(_seconds), Field(ge=0.1, le=366 * 86_400, description=ALLOWED)]

Wait = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=366 * 86_400, description=ALLOWED)]

Lease = Annotated[
    float, BeforeValidator(_seconds), Field(ge=1, le=86_400, description=f"{ALLOWED}, from one second to one day")
]


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
    lease: Lease = 30.0
    grace: Wait = 20.0
    retry_attempts: int | None = Field(
        None, ge=1, le=1_000_000, description="write how often a task is tried at most, whatever its own max_attempts"
    )
    retry_base: Wait = 1.0
    retry_factor: float = Field(2.0, ge=1, le=1000, description="write how many times longer each wait is, 1 to 1000")
    retry_cap: Wait = 600.0
    retry_jitter: float = Field(0.2, ge=0, le=1, description="write which part of a wait is random, 0 to 1")
    lock: Literal["none", "advisory", "redis"] = Field("none", description="write none, advisory or redis")
    redis_url: RedisUrl | None = Field(None, description=EXAMPLE)
    scheduler: Literal["lock", "leader", "off"] = Field(
        "lock",
        description="write lock (each scheduled job runs in whichever consumer is first), leader (all in one) or off",
    )
    job_at_most: float = Field(
        5.0, gt=0, le=1000, allow_inf_nan=False,
        description="write for how many times its interval a job's lock is held at most",
    )  # fmt: skip
    job_at_least: float = Field(
        0.9, ge=0, le=1, description="write for how many times its interval a job's lock is held at least, 0 to 1"
    )
    job_threads: int = Field(4, ge=1, le=1000, description="write how many jobs that are not async may run at once")
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="write a time zone such as UTC or Europe/Berlin"
    )
    enqueue_every: Interval = 1.0
    reannounce_every: Interval = 30.0
    prune_every: Interval = 600.0
    retention: Annotated[timedelta | None, BeforeValidator(_retention)] = Field(
        timedelta(days=7), description="write a duration such as 7d or 12h, or off to keep all"
    )

    # Events: consumers/events/.
    events_queue: str | None = Field(
        None,
        min_length=1,
        max_length=250,
        description="write the name of a queue for this application alone; '.dead' is added to it",
    )
    events_single_active: bool = Field(
        default=True, description="write false to let several consumers take events at once, without an order"
    )
    events_bind: bool = Field(
        default=True,
        description="write false if CONSUMERS_EVENTS_QUEUE is one of `relay setup --topology`, which has bound it",
    )
    events_unhandled: Literal["dead-letter", "ack"] = Field(
        "dead-letter", description="write dead-letter or ack: what becomes of events that no handler takes"
    )
    events_prefetch: int = Field(200, ge=1, le=65535, description="write how many events may be unacknowledged")
    events_attempts: int = Field(6, ge=1, le=100, description="write how many times a handler is called, 1 to 100")
    events_retry_after: Interval = 0.5
    events_retry_cap: Interval = 30.0
    events_gap_wait: Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=600, description=ALLOWED)] = 10.0
    inbox_retention: Annotated[timedelta | None, BeforeValidator(_retention)] = Field(
        timedelta(days=7), description="write a duration such as 7d, one hour or more, or off to keep all"
    )

    @field_validator("events_queue")
    @classmethod
    def _is_not_that_of_tasks(cls, queue: str | None, info: ValidationInfo) -> str | None:
        tasks = info.data.get("queue")
        if queue is None or tasks is None:
            return queue
        if queue == tasks:
            raise ValueError("it is the queue of tasks, CONSUMERS_QUEUE")
        if queue == dead_letter_queue(tasks):
            raise ValueError("it is the dead-letter queue of CONSUMERS_QUEUE")
        if dead_letter_queue(queue) == tasks:
            raise ValueError("its dead-letter queue is the queue of tasks, CONSUMERS_QUEUE")
        return queue

    @field_validator("inbox_retention")
    @classmethod
    def _outlasts_redeliveries(cls, retention: timedelta | None) -> timedelta | None:
        if retention is not None and retention < timedelta(hours=1):
            raise ValueError("it is less than an hour, so that a message that comes again would be applied again")
        return retention

    def retry(self) -> Policy:
        """Return the policy of types that leave all to the settings."""
        return Policy(self.retry_attempts, self.retry_base, self.retry_factor, self.retry_cap, self.retry_jitter)

    @field_validator("prefetch")
    @classmethod
    def _feeds_the_threads(cls, prefetch: int, info: ValidationInfo) -> int:
        if prefetch < info.data.get("concurrency", 1):
            raise ValueError("it is less than CONSUMERS_CONCURRENCY, so threads would stay idle")
        return prefetch

    @model_validator(mode="after")
    def _redis_is_named(self) -> Self:
        if self.lock == "redis" and self.redis_url is None:
            raise ValueError(
                "CONSUMERS_REDIS_URL is not set, and CONSUMERS_LOCK is redis; set it in the environment or in "
                "CONSUMERS_REDIS_URL_FILE, or set CONSUMERS_LOCK=none"
            )
        return self

    @model_validator(mode="after")
    def _events_end_before_rabbitmq_does(self) -> Self:
        def longest(attempts: int) -> float:
            return EventPolicy(attempts, self.events_retry_after, self.events_retry_cap).longest

        if longest(self.events_attempts) > MOST_SECONDS:
            fitting = next(fewer for fewer in range(self.events_attempts, 0, -1) if longest(fewer) <= MOST_SECONDS)
            raise ValueError(
                "CONSUMERS_EVENTS_ATTEMPTS and CONSUMERS_EVENTS_RETRY_CAP would let an event be tried for "
                f"{longest(self.events_attempts):.0f} s, and RabbitMQ waits 30 minutes for its ack; with this cap at "
                f"most {fitting} attempts are allowed: set CONSUMERS_EVENTS_ATTEMPTS={fitting}, or a shorter "
                f"CONSUMERS_EVENTS_RETRY_CAP, so that it takes at most {MOST_SECONDS:.0f} s"
            )
        return self
