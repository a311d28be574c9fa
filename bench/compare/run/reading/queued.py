"""Counts the messages in a queue that nobody consumes: what a publisher has been confirmed, whoever it is.

A quorum queue counts a message when it has confirmed it.
"""

import asyncio
from contextlib import suppress

from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.errors import Problem


class WaitingMessages:
    """Asks over one connection, which is opened when it is needed."""

    def __init__(self, amqp_url: str, queue: str) -> None:
        self._amqp_url = amqp_url
        self._queue = queue
        self._loop = asyncio.new_event_loop()
        self._connection: Connection | None = None
        self._channel: Channel | None = None

    def count(self) -> int:
        """Return how many there are."""
        return self._loop.run_until_complete(self._count())

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with suppress(Problem):
                self._loop.run_until_complete(self._connection.close())
        self._loop.close()

    async def _count(self) -> int:
        if self._connection is None or self._channel is None:
            self._connection = await Connection.open(self._amqp_url, name="bench counting")
            self._channel = await self._connection.channel()
        answer = await self._connection.call(self._channel.queue_declare, self._queue, passive=True)
        return int(answer.message_count)
