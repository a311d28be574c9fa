"""`python -m relay` is `relay`."""

from runtime.entry import relay

relay()
