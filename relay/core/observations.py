"""What happens in a relay, as frozen values for logs and metrics. Pure.

The parts that do the work know these values, and no logger, no metric and no format. One value is one incident or one
batch, never one message.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from outboxkit.errors import Problem
from relay.core.position import Position


@dataclass(frozen=True, slots=True)
class Streaming:
    """The source is open: this relay is the active one."""

    mode: str
    """Which kind of source: `wal` or `polling`."""
    start: Position
    details: Mapping[str, object]
    """What a log line says of the source besides."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """One source goes on where the other has ended."""

    source: str
    """The mode until now."""
    to: str
    reason: str
    """A few words: one of a few."""
    detail: str
    position: Position | None
    """Where the new source begins."""
    duplicates: int | None
    """How many events are published again at most; 0 for a change in order, None if that is not known."""


@dataclass(frozen=True, slots=True)
class NotHandedOver:
    """What keeps the other source, `to`, from going on."""

    to: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class SlotWaits:
    """A new slot is being made, and transactions hold it up. Polling goes on meanwhile."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Standby:
    """Another relay is the active one."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class SourceLost:
    """The stream broke, or could not be opened; it is tried again."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class BrokerConnected:
    """The relay can publish."""

    broker: str
    again: int
    """How many messages were in doubt and are published again."""


@dataclass(frozen=True, slots=True)
class BrokerLost:
    """The connection or the channel is gone, or could not be opened; it is tried again."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Blocked:
    """RabbitMQ takes no more messages (an alarm), or takes them again."""

    blocked: bool


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker has confirmed messages."""

    count: int


@dataclass(frozen=True, slots=True)
class Named:
    """The message that an incident is about, or the first of several."""

    message_id: str
    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Nacked:
    """The broker nacked messages; they are published again."""

    count: int
    first: Named


@dataclass(frozen=True, slots=True)
class Returned:
    """The broker returned messages: no queue takes them."""

    count: int
    first: Named
    reason: str
    policy: str


@dataclass(frozen=True, slots=True)
class Held:
    """The broker closes the channel or the connection because of a message, which is published again."""

    message: Named
    problem: Problem


@dataclass(frozen=True, slots=True)
class Parked:
    """Events were stored in relay.parked instead of being published."""

    ids: Sequence[str]
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Settled:
    """Transactions are wholly confirmed; times are seconds since 1970."""

    committed_at: Sequence[float]
    """When each was committed, on the server's clock."""
    received_at: Sequence[float]
    """When the end of each was received, on this machine's clock."""
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class FenceReturned:
    """A fence came back through the stream, so many seconds after it was written."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything that was committed before `as_of`, on the loop's clock, is confirmed."""

    as_of: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """Rows that a poller has not published, since another one has them, or had them meanwhile."""

    locked: int = 0
    """Rows that another session has locked."""
    aggregates: int = 0
    """Rows of aggregates that another poller has locked."""
    conflicts: int = 0
    """Rows that were marked as published before this poller got them, or while it had them."""


@dataclass(frozen=True, slots=True)
class SlotWatched:
    """The state of the slot; sizes are bytes."""

    retained_bytes: int
    lag_bytes: int
    wal_status: str
    safe_wal_size: int | None
    parked: int


@dataclass(frozen=True, slots=True)
class Retired:
    """A partition of the outbox was dropped: it was published, and old."""

    partition: str


@dataclass(frozen=True, slots=True)
class Audited:
    """What was published since the last time was compared with what was confirmed or parked."""

    compared: int
    """How many events could be compared."""
    missing: int
    """How many of these, and of those before, are neither confirmed nor parked."""
    first: int | None
    """The number of one of them."""


@dataclass(frozen=True, slots=True)
class NotPolled:
    """The outbox cannot be polled, and why: the WAL is all there is, and the slot is never let go."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class SlotBudget:
    """How many bytes of WAL the slot may retain; seen at the start, and when it changes."""

    budget_bytes: int
    let_go: bool
    """Whether the slot is dropped at the budget; else it is kept, and a warning is all."""


@dataclass(frozen=True, slots=True)
class SlotFills:
    """The slot retains half of the WAL that it may, or more."""

    retained_bytes: int
    budget_bytes: int


@dataclass(frozen=True, slots=True)
class ReplayWindow:
    """How much WAL is kept for replays; 0 without a window."""

    retained_bytes: int


@dataclass(frozen=True, slots=True)
class ReplayWindowMade:
    """The slot that keeps WAL for replays was made: from now on, they may begin here."""

    slot: str


@dataclass(frozen=True, slots=True)
class ReplayWindowDropped:
    """The slot that kept WAL for replays is gone, and why."""

    slot: str
    reason: str
    wanted: bool
    """Whether another one is made when there is room."""


@dataclass(frozen=True, slots=True)
class NotStored:
    """Work beside the stream failed and is tried again; nothing is lost by it."""

    what: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Stored:
    """Work beside the stream is done: a later failure of it is another incident."""

    what: str


@dataclass(frozen=True, slots=True)
class ShadowCompares:
    """Shadow mode compares `source` with the live stream: events of transaction `since`, and of later ones."""

    source: str
    since: int


@dataclass(frozen=True, slots=True)
class ShadowPauses:
    """Shadow mode does not compare `source` any more, until it begins anew."""

    source: str
    reason: str
    """One word: `handover` (the live stream ended, or reads the same source now), `behind` or `failed`."""


@dataclass(frozen=True, slots=True)
class ShadowCompared:
    """Events that both sources have given: by how many seconds the one that was first was ahead."""

    live: Sequence[float]
    """Where the live stream was first."""
    shadow: Sequence[float]


@dataclass(frozen=True, slots=True)
class Difference:
    """An event that the two sources have not given alike."""

    kind: str
    """`missing_live`, `missing_shadow`, `order` or `twice`."""
    message_id: str
    seq: int
    transaction: int
    aggregate_type: str
    aggregate_id: str


@dataclass(frozen=True, slots=True)
class ShadowDiffers:
    """Shadow mode has found differences."""

    differences: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class NotDrained:
    """The relay stops with messages unconfirmed; the next run publishes them again.

    A second signal ends it without storing the position: then there may be none, and what was confirmed since it was
    stored is published again all the same.
    """

    in_flight: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The relay has stopped."""

    confirmed: int
    position: Position | None


Observation = (
    Streaming
    | HandedOver
    | NotHandedOver
    | SlotWaits
    | Standby
    | SourceLost
    | BrokerConnected
    | BrokerLost
    | Blocked
    | Confirmed
    | Nacked
    | Returned
    | Held
    | Parked
    | Settled
    | FenceReturned
    | CaughtUp
    | Skipped
    | SlotWatched
    | NotPolled
    | SlotBudget
    | SlotFills
    | ReplayWindow
    | ReplayWindowMade
    | ReplayWindowDropped
    | Retired
    | Audited
    | NotStored
    | Stored
    | ShadowCompares
    | ShadowPauses
    | ShadowCompared
    | ShadowDiffers
    | NotDrained
    | Stopped
)
Observe = Callable[[Observation], None]
