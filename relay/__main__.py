"""`python -m relay` is `relay`."""

from outboxkit.process.entry import relay

relay()
