"""An AMQP connection in the running asyncio loop: pika's callbacks as awaitables.

It opens, reports that it is blocked or lost, and closes. It never reconnects: its user decides about messages in doubt.
Of the nodes that a URL names, the first that accepts the connection is used. Heartbeat, blocked and socket timeouts are
set here (https://www.rabbitmq.com/docs/heartbeats); the query parameters of the URL win.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Self

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.exceptions import AMQPError

from outboxkit.amqp import pika_internals
from outboxkit.amqp.answers.refusals import all_of, problem
from outboxkit.amqp.errors import BrokerRefused, BrokerUnavailable
from outboxkit.amqp.tls import Tls
from outboxkit.amqp.turn import Turn
from outboxkit.amqp.url import Node, nodes
from outboxkit.errors import Problem

HEARTBEAT_SECONDS = 10
BLOCKED_SECONDS = 300.0
CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 5.0


def parameters(node: Node, *, name: str, tls: Tls | None = None) -> pika.ConnectionParameters:
    """Return pika's parameters for `node`; RabbitMQ's management UI shows the connection as `name`.

    With `amqps://`, the broker's certificate is verified by `tls`, or by the system's authorities.
    """
    blocked = node.blocked_connection_timeout
    return pika.ConnectionParameters(
        host=node.host,
        port=node.port,
        virtual_host=node.virtual_host,
        credentials=pika.PlainCredentials(node.user, node.password),
        ssl_options=pika.SSLOptions((tls or Tls()).context(), node.host) if node.tls else None,
        heartbeat=HEARTBEAT_SECONDS if node.heartbeat is None else node.heartbeat,
        blocked_connection_timeout=BLOCKED_SECONDS if blocked is None else blocked,
        socket_timeout=CONNECT_SECONDS,
        stack_timeout=CONNECT_SECONDS,
        client_properties={"connection_name": name},
        frame_max=node.frame_max,
    )


class Connection:
    """One open connection; `await Connection.open(url, name=...)` returns it."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self.blocked = False
        self.lost: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()
        self._connection: AsyncioConnection | None = None

    @classmethod
    async def open(cls, url: str, *, name: str, tls: Tls | None = None, turn: Turn | None = None) -> Self:
        """Connect to a node of `url` and log in; raises the BrokerUnavailable or BrokerRefused of all of them.

        `turn` is for who connects again: each attempt begins with the node after the last one's.
        """
        problems: list[Problem] = []
        for node in (turn or Turn()).order(nodes(url)):
            try:
                return await cls.to(node, name=name, tls=tls)
            except (BrokerUnavailable, BrokerRefused) as problem:
                problems.append(problem)
        raise all_of(problems)

    @classmethod
    async def to(cls, node: Node, *, name: str, tls: Tls | None = None) -> Self:
        """Connect to `node` and log in; raises BrokerUnavailable or BrokerRefused."""
        settings = parameters(node, name=name, tls=tls)
        connection = cls(str(node))
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_open(_: object) -> None:
            if not opened.done():
                opened.set_result(None)

        def on_error(_: object, error: BaseException) -> None:
            if not opened.done():
                opened.set_exception(problem(error, connection.broker))

        raw = AsyncioConnection(settings, on_open, on_error, connection._on_close)
        raw.add_on_connection_blocked_callback(lambda *_: connection._set_blocked(True))
        raw.add_on_connection_unblocked_callback(lambda *_: connection._set_blocked(False))
        connection._connection = raw
        try:
            await opened
        except asyncio.CancelledError:
            # At once, since nobody may be left to run the loop when the broker answers.
            if not (raw.is_closing or raw.is_closed):
                raw.close()
            raise
        return connection

    async def channel(self, on_close: Callable[[Problem], None] | None = None) -> Channel:
        """Open a channel; calls `on_close` when the broker closes it or the connection is lost."""
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()

        def on_open(channel: Channel) -> None:
            if not opened.done():
                opened.set_result(channel)

        def closed(_: Channel, error: Exception) -> None:
            found = problem(error, self.broker)
            if not opened.done():
                opened.set_exception(found)
            elif on_close is not None:
                on_close(found)

        channel = self._open_connection.channel(on_open_callback=on_open)
        channel.add_on_close_callback(closed)
        return await opened

    async def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - pika's replies
        """Call a channel method that the broker answers (`queue_declare`, `basic_qos`) and return its answer.

        Raises ChannelRefused or BrokerUnavailable when the channel closes instead of answering.
        """
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        channel: Channel = method.__self__  # type: ignore[attr-defined]

        def on_answer(frame: Any) -> None:  # noqa: ANN401 - pika's replies
            if not answered.done():
                answered.set_result(frame.method)

        def on_close(_: Channel, error: Exception) -> None:
            if not answered.done():
                answered.set_exception(problem(error, self.broker))

        channel.add_on_close_callback(on_close)
        try:
            method(*args, **kwargs, callback=on_answer)
        except AMQPError as error:
            answered.cancel()
            raise problem(error, self.broker) from error
        return await answered

    @property
    def frame_max(self) -> int:
        """The negotiated maximum size of a frame, in bytes."""
        return int(self._open_connection.params.frame_max)

    def guard(self, fenced: Callable[[], bool]) -> None:
        """While `fenced()` is true, send nothing, nor what waits in pika's buffer."""
        pika_internals.guard_sends(self._open_connection, fenced)

    def divert(self, take: Callable[[bytes], tuple[bytes, int]]) -> None:
        """Give what is read from now on to `take`; it returns the frames that are left, and how many bytes it took."""
        pika_internals.divert(self._open_connection, take)

    def write(self, frames: bytes) -> None:
        """Send encoded frames at once, in one piece, after everything that pika has written."""
        pika_internals.send_now(self._open_connection, frames)

    def abort(self) -> None:
        """Lose the connection at once, and with it what waits to be sent; do nothing when it is already lost."""
        if self._connection is not None and not self._connection.is_closed:
            pika_internals.lose(self._connection, "it was given up")

    async def close(self) -> None:
        """Close in order, and abort after a time limit; does nothing when the connection is already lost."""
        if self._connection is None or self.lost.done():
            return
        if self._connection.is_open:
            self._connection.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.shield(self.lost)
        except TimeoutError:  # the broker does not answer
            self.abort()

    @property
    def _open_connection(self) -> AsyncioConnection:
        if self._connection is None or not self._connection.is_open:
            raise BrokerUnavailable(f"the connection to RabbitMQ at {self.broker} is closed", remedy="connect again")
        return self._connection

    def _set_blocked(self, blocked: bool) -> None:  # noqa: FBT001 - a setter
        self.blocked = blocked

    def _on_close(self, _: object, error: BaseException) -> None:
        if not self.lost.done():
            self.lost.set_result(problem(error, self.broker))
