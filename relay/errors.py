"""What can go wrong in the relay, told apart by what must happen next.

Problem
├── SourceUnavailable      Postgres does not answer, or the stream broke      transient: the relay tries again
│   └── SlotHeld           another process streams from the slot              transient: the relay stands by
├── SourceRefused          Postgres answered, and said no                     fatal: mend, then start again
│   └── SlotMissing        the slot is gone, or was invalidated
├── UndecodableChange      the outbox table is not what the relay expects     fatal
└── UnpublishableEvent     an event that AMQP cannot carry                    fatal

The broker's side of the tree is in messaging/errors.py.
"""

from runtime.errors import Problem


class SourceUnavailable(Problem):
    """Postgres cannot be reached, is starting or stopping, or the stream broke."""


class SlotHeld(SourceUnavailable):
    """Another process streams from the slot (55006)."""


class SourceRefused(Problem):
    """Postgres refuses what the relay needs, and will until somebody changes something."""


class SlotMissing(SourceRefused):
    """The replication slot does not exist (42704) or was invalidated (55000)."""


class UndecodableChange(Problem):
    """A change in the stream is not a row of the outbox that the relay knows."""


class UnpublishableEvent(Problem):
    """An event whose headers or routing AMQP cannot carry."""
