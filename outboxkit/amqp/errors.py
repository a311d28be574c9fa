"""What can go wrong with the broker, by what an operator must do. Pure.

Problem
├── BrokerUnavailable    it does not answer, or the connection was lost          transient: try again
├── ProtocolViolated     it answered for something that it was not sent          a bug: report it
└── BrokerRefused        it refused                                              fix the cause, then try again
    ├── TlsRefused           one side does not accept the other's certificate
    ├── LoginRefused         user, password or virtual host
    ├── FramesRefused        it closed the connection because of an internal error (541)
    │   └── FramesUnreadable     it cannot parse the frames it was sent, and never will (501, 502)
    └── ChannelRefused       an exchange or queue is missing or forbidden (404, 403)
        ├── AccessRefused        it is forbidden (403)
        └── PreconditionFailed   it has other properties; or the broker does not accept a message (406)
"""

from outboxkit.errors import Problem


class BrokerUnavailable(Problem):
    """The broker cannot be reached, or the connection to it was lost."""


class ProtocolViolated(Problem):
    """The broker answered for a message that was not sent to it, so none of its answers can be relied on."""


class BrokerRefused(Problem):
    """The broker refused, and refuses again until the cause is fixed."""


class TlsRefused(BrokerRefused):
    """One side does not accept the other's certificate, or one of them does not speak TLS."""


class LoginRefused(BrokerRefused):
    """The broker does not accept the user, the password or the virtual host."""


class FramesRefused(BrokerRefused):
    """The broker closed the connection because of an error in itself, maybe caused by the frames it was sent."""


class FramesUnreadable(FramesRefused):
    """The broker closed the connection: it cannot parse the frames it was sent, and never will."""


class ChannelRefused(BrokerRefused):
    """The broker closed a channel: an exchange or queue is missing, has other properties, or is forbidden."""


class AccessRefused(ChannelRefused):
    """The user lacks a right on an exchange or queue."""


class PreconditionFailed(ChannelRefused):
    """An exchange or queue has other properties; or, after a publish, the broker never accepts such a message."""
