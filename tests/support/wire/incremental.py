"""Reads a stream of bytes that comes in pieces of any length. Pure."""

from collections.abc import Generator

Parser = Generator[int, bytes, None]
"""Yields how many bytes it needs next, and is sent exactly those; after it returns, bytes are ignored."""


class Incremental:
    """Gives `parser` the bytes that it asks for, however they are cut."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._buffer = bytearray()
        self._needed = next(parser)
        self._done = False

    def feed(self, data: bytes) -> None:
        """Parse as much as `data` completes; raises what the parser raises for bytes that it cannot read."""
        if self._done:
            return
        self._buffer += data
        while len(self._buffer) >= self._needed:
            piece = bytes(self._buffer[: self._needed])
            del self._buffer[: self._needed]
            try:
                self._needed = self._parser.send(piece)
            except StopIteration:
                self._done = True
                self._buffer.clear()
                return
