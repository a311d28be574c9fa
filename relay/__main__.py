"""`python -m relay` is `relay`."""

from outboxkit.entry import relay

relay()
