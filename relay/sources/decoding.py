"""What every output plugin's decoder is. Pure."""

from typing import Protocol

from relay.event import Boundary, Fence, OutboxEvent


class Decoder(Protocol):
    """Turns the payloads of one stream, in order, into events, boundaries and fences."""

    in_transaction: bool
    """Whether a transaction has begun and not ended."""

    def decode(self, payload: bytes) -> OutboxEvent | Boundary | Fence | None:
        """Return what `payload` means for the relay; raises UndecodableChange."""
