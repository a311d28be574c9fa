"""What can go wrong in the relay, told apart by what must happen next.

Problem
├── SourceUnavailable      Postgres does not answer, or the stream broke      transient: the relay tries again
│   ├── SlotHeld           another process streams from the slot              transient: the relay stands by
│   ├── SourceStalled      nothing comes, and nobody says why                 transient: again, with more patience
│   ├── SlotReleased       the broker is away too long to hold the slot       transient: until the broker is back
│   └── StoodStill         this process was stopped and may be replaced       transient: what it held is dropped
├── SourceRefused          Postgres answered, and said no                     fatal: mend, then start again
│   └── SlotMissing        the slot is gone, or was invalidated
├── UndecodableChange      the outbox table is not what the relay expects     fatal
├── MessageReturned        no queue takes a message, and the policy is halt    fatal
└── UnpublishableEvent     an event that AMQP cannot carry                    parked
    └── MessageTooLarge    one that is larger than the broker may be given    parked

The broker's side of the tree is in outboxkit/amqp/errors.py.
"""

from outboxkit.errors import Problem


class SourceUnavailable(Problem):
    """Postgres cannot be reached, is starting or stopping, or the stream broke."""


class SourceStalled(SourceUnavailable):
    """Postgres says nothing, or what it sends does not get on: the link is dead, or it decodes something huge."""


class SlotHeld(SourceUnavailable):
    """Another process streams from the slot (55006)."""


class SlotReleased(SourceUnavailable):
    """The broker is away for so long that the slot was let go: a held one would keep Postgres from shutting down."""


class StoodStill(SourceUnavailable):
    """This process was stopped for so long that another may have taken its place."""


class SourceRefused(Problem):
    """Postgres refuses what the relay needs, and will until somebody changes something."""


class SlotMissing(SourceRefused):
    """The replication slot does not exist (42704) or was invalidated (55000)."""


class UndecodableChange(Problem):
    """A change in the stream is not a row of the outbox that the relay knows."""


class MessageReturned(Problem):
    """No queue takes a message, and the relay was told to halt at that."""


class UnpublishableEvent(Problem):
    """An event whose headers or routing AMQP cannot carry."""


class MessageTooLarge(UnpublishableEvent):
    """An event whose message would be larger than RELAY_MAX_MESSAGE_BYTES."""
