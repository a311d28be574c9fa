"""An outbox whose events several relays share (RELAY_PARTITION): whether a relay fits in, and where each begins."""
