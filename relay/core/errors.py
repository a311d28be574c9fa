"""What can go wrong in the relay, by what must happen next.

Problem
├── SourceUnavailable      Postgres does not answer, or the stream broke      transient: the relay tries again
│   ├── Unanswered         Postgres does not answer in time: a dead link      transient: the stream is opened again
│   ├── RepairNeeded       Postgres works, and refuses until somebody acts    transient, but at the first attempt fatal
│   ├── StandsBy           another relay is active                            transient: the relay stands by
│   │   ├── AnotherLeads   another replica is the active one
│   │   └── SlotHeld       another process streams from the slot
│   ├── LeadershipLost     Postgres ended the session of the active relay     transient: it, or another, takes over
│   ├── SourceStalled      nothing arrives for too long                       transient: again, with a longer limit
│   ├── SlotReleased       the broker is away too long to hold the slot       transient: until the broker is back
│   ├── RowsReleased       the broker is away too long to keep rows locked    transient: they are read again
│   ├── PositionLost       somebody else wrote the stored position            transient: it counts, and memory does not
│   ├── OutboxChanged      the outbox has other partitions than are streamed  transient: read again, with these
│   ├── ServerStops        Postgres shuts down and waits for the stream       transient: until it is back
│   ├── Switched           the other source goes on from here                 transient: it is opened at once
│   └── StoodStill         this process was stopped and may be replaced       transient: what it held is dropped
├── SourceRefused          Postgres answered, and refused                     fatal: repair, then start again
│   ├── WalRefused         the WAL cannot be read                             where the table can be polled, it is
│   │   ├── SlotMissing    the slot is gone, or was invalidated
│   │   └── SlotMoved      the slot is ahead of the stored position
│   └── NotOurs            the slot or the position is another relay's
├── UndecodableChange      the outbox table is not what the relay expects     fatal
├── MessageReturned        no queue takes a message, and the policy is halt    fatal
└── UnpublishableEvent     an event that AMQP cannot carry                    parked
    └── MessageTooLarge    one that is larger than the broker may be given    parked

The broker's side of the tree is in outboxkit/amqp/errors.py.
"""

from outboxkit.errors import Problem


class SourceUnavailable(Problem):
    """Postgres cannot be reached, is starting or stopping, or the stream broke."""


class Unanswered(SourceUnavailable):
    """Postgres has not answered in time. The stream goes the same way, so it may be dead too, and look alive."""


class RepairNeeded(SourceUnavailable):
    """Postgres cannot do it until an operator acts: grants a right, frees space, lets it write.

    A relay that starts ends with it, since whoever started it reads the reason. Later it is an incident: it is said
    once, and tried again.
    """


class SourceStalled(SourceUnavailable):
    """Nothing arrives, or the stream makes no progress: the link is dead, or Postgres decodes a huge transaction."""


class StandsBy(SourceUnavailable):
    """Another relay is active, and this one waits for its turn."""


class AnotherLeads(StandsBy):
    """Another replica of this relay is the active one."""


class SlotHeld(StandsBy):
    """Another process streams from the slot (55006)."""


class LeadershipLost(SourceUnavailable):
    """The session that made this relay the active one has ended."""


class SlotReleased(SourceUnavailable):
    """The broker is away for so long that the slot was released: a held slot keeps Postgres from shutting down."""


class RowsReleased(SourceUnavailable):
    """A batch of locked rows was not confirmed for so long that its transaction was rolled back."""


class PositionLost(SourceUnavailable):
    """The stored position is not the one that this process wrote, or the server is not the one that it was.

    Another relay or an operator wrote it, or the database went back in time. What the process remembers does not count.
    """


class OutboxChanged(SourceUnavailable):
    """The outbox has other partitions than those that are streamed, or a row came of a table that was not known."""


class ServerStops(SourceUnavailable):
    """Postgres is shutting down: a held slot keeps it from that."""


class Switched(SourceUnavailable):
    """This source has ended in order: everything that it gave is confirmed and stored, and the other one goes on."""


class StoodStill(SourceUnavailable):
    """This process was stopped for so long that another may have taken its place."""


class SourceRefused(Problem):
    """Postgres refuses what the relay needs, and will refuse it until an operator changes something."""


class WalRefused(SourceRefused):
    """The WAL cannot be read: without logical decoding, without the output plugin, or without the slot.

    Where the table can be polled, the relay does that instead, and nothing is missed.
    """

    reason = "refused"
    """A few words for a metric and the history of hand-overs."""


class WalNotLogical(WalRefused):
    """The server's wal_level is not logical."""

    reason = "wal_level"


class PluginRefused(WalRefused):
    """The server has no such output plugin (58P01), or the slot was made with another one."""

    reason = "plugin"


class SlotMissing(WalRefused):
    """The replication slot does not exist (42704)."""

    reason = "slot missing"


class SlotLost(SlotMissing):
    """The replication slot was invalidated (55000): Postgres removed WAL that it needed."""

    reason = "slot lost"


class SlotMoved(WalRefused):
    """The slot is ahead of the stored position: somebody else moved it or made it again."""

    reason = "slot moved"


class NotOurs(SourceRefused):
    """The slot or the stored position belongs to another relay, outbox, database or server."""


class UndecodableChange(Problem):
    """A change in the stream is not a row of the outbox in the form that the relay knows."""


class MessageReturned(Problem):
    """No queue takes a message, and RELAY_ON_RETURN is halt."""


class UnpublishableEvent(Problem):
    """An event whose headers or routing AMQP cannot carry."""


class MessageTooLarge(UnpublishableEvent):
    """An event whose message would be larger than RELAY_MAX_MESSAGE_BYTES."""
