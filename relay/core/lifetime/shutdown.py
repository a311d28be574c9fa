"""Notes that the source's server shuts down, so that the stream is let go at once.

Postgres' shutdown waits until the client of every walsender has confirmed all WAL. A relay that is held up cannot.
relay/storage/sessions/shutdown.py hears that Postgres shuts down.
"""

import asyncio

from relay.core.errors import ServerStops


class Shutdown:
    """Is announced by what hears of it, and awaited by who has to let go."""

    def __init__(self) -> None:
        self._announced = asyncio.Event()

    def announce(self) -> None:
        """Note that the server shuts down."""
        self._announced.set()

    def forget(self) -> None:
        """Start again, before a stream opens: earlier announcements were of an earlier shutdown."""
        self._announced.clear()

    async def announced(self) -> None:
        """Return when the server shuts down."""
        await self._announced.wait()

    def problem(self) -> ServerStops:
        """Return the reason that an operator reads."""
        return ServerStops(
            "Postgres is shutting down; the slot is released, and kept",
            remedy="the relay streams again when Postgres is back",
        )
