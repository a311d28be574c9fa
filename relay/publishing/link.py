"""The link to RabbitMQ: one connection with one channel in confirm mode, opened again by `connect` after each loss.

It opens, passes on what the broker answers, asks a silent broker, and gives up one that does not answer. It knows
nothing of messages, and it never connects by itself. This is the relay's only file that imports pika.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from pika import BasicProperties
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic

from outboxkit.amqp.connection import HEARTBEAT_SECONDS, Connection
from outboxkit.amqp.errors import BrokerUnavailable
from outboxkit.amqp.tls import Tls
from outboxkit.amqp.topology import check_exchange
from outboxkit.amqp.turn import Turn
from outboxkit.errors import Problem
from relay.core.observations import Blocked, Observe
from relay.publishing.silence import Silence


@dataclass(frozen=True, slots=True)
class Broker:
    """How to reach RabbitMQ; read at each connect, so that changed secrets are picked up."""

    url: str
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """How often the link is checked, and how long a silent broker has; in seconds."""

    check_every: float = 0.5
    ask_after: float = HEARTBEAT_SECONDS / 2
    """Without any answer for this long, the broker is asked a question."""
    answer_within: float = 5.0
    """How long its reply may take at first; see `Silence`."""


TIMINGS = Timings()


class Opened(NamedTuple):
    """What an open link has."""

    broker: str
    """`host:port/vhost`."""
    channel: int
    frame_max: int


class OnAnswer(Protocol):
    """Takes a confirm, or a nack, as the broker sent it."""

    def __call__(self, tag: int, *, multiple: bool, nack: bool) -> None:
        """Take the answer for `tag` or, with `multiple`, for all tags up to it."""


class BrokerLink:
    """One connection at a time. Nothing is sent while `fenced` says that another process may be the active one."""

    def __init__(  # noqa: PLR0913 - made in one place, by the publisher
        self,
        broker: Callable[[], Broker],
        *,
        name: str,
        exchange: str,
        fenced: Callable[[], bool],
        observe: Observe,
        timings: Timings,
        on_answer: OnAnswer,
        on_return: Callable[[str, str], None],
    ) -> None:
        self._broker = broker
        self._name = name
        self._exchange = exchange
        self._fenced = fenced
        self._observe = observe
        self._check_every = timings.check_every
        self._on_answer = on_answer
        self._on_return = on_return
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._silence = Silence(now, ask_after=timings.ask_after, answer_within=timings.answer_within)
        self._away_since = now
        self._turn = Turn()
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._lost: asyncio.Future[Problem] = self._loop.create_future()
        self.blocked = False
        """Whether RabbitMQ has blocked the connection (https://www.rabbitmq.com/docs/connection-blocked)."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection, lost or not, that was not closed yet."""
        return self._connection is not None

    async def connect(self) -> Opened:
        """Connect, check that the exchange exists, and turn on confirms; raises the Problem that prevents it."""
        broker = self._broker()
        connection = await Connection.open(broker.url, name=self._name, tls=broker.tls, turn=self._turn)
        lost: asyncio.Future[Problem] = self._loop.create_future()
        try:
            channel = await connection.channel(partial(_resolve, lost))
            await check_exchange(connection, channel, self._exchange)
            await connection.call(channel.confirm_delivery, partial(self._answered, channel))
        except BaseException:
            await connection.close()
            raise
        channel.add_on_return_callback(self._returned)
        connection.guard(self._fenced)
        self._connection, self._channel, self._lost = connection, channel, lost
        self._silence.restart(self._loop.time())
        return Opened(connection.broker, channel.channel_number, connection.frame_max)

    def writable(self) -> bool:
        """Return whether frames may be sent now."""
        return self._channel is not None and self._channel.is_open and not self._fenced()

    def write(self, frames: bytes) -> None:
        """Send `frames` in one piece; call it only while the link is writable."""
        if self._connection is not None:
            self._connection.write(frames)

    async def watch(self, overdue: Callable[[], Problem | None]) -> Problem:
        """Return why the connection is lost or given up; `overdue` is asked regularly for the caller's own reason."""
        while True:
            done, _ = await asyncio.wait([self._lost], timeout=self._check_every)
            if done:
                return self._lost.result()
            self._note_blocked()
            if problem := overdue() or self._check_silence():
                return problem

    def give_up(self, problem: Problem) -> None:
        """Count the connection as lost because of `problem`, if it is not lost already."""
        _resolve(self._lost, problem)

    def abort(self, problem: Problem) -> None:
        """Lose the connection at once, with everything that still waits for the socket."""
        self._channel = None  # its answers mean nothing from here on
        if self._connection is not None:
            self._connection.abort()  # `close` would first send what waits for the socket
        self.give_up(problem)

    async def close(self) -> None:
        """Close the connection in order; does nothing without one."""
        connection, self._connection, self._channel = self._connection, None, None
        self._away_since = self._loop.time()
        if connection is not None:
            await connection.close()

    async def away(self, seconds: float) -> None:
        """Return when there has been no connection for `seconds`."""
        left = seconds
        while left > 0:
            await asyncio.sleep(left)
            left = seconds if self._connection else self._away_since + seconds - self._loop.time()

    def _answered(self, channel: Channel, frame: Method[Basic.Ack | Basic.Nack]) -> None:
        if channel is self._channel:
            self._silence.heard_at = self._loop.time()
            answer = frame.method
            self._on_answer(answer.delivery_tag, multiple=answer.multiple, nack=isinstance(answer, Basic.Nack))

    def _returned(self, channel: Channel, method: Basic.Return, properties: BasicProperties, _: bytes) -> None:
        if channel is self._channel:
            self._on_return(str(properties.message_id), method.reply_text or "")

    def _note_blocked(self) -> None:
        blocked = self._connection is not None and self._connection.blocked
        if blocked != self.blocked:
            self.blocked = blocked
            self._observe(Blocked(blocked))

    def _check_silence(self) -> Problem | None:
        now = self._loop.time()
        if self.blocked:
            self._silence.restart(now)  # RabbitMQ does not read a connection that it has blocked
            return None
        verdict = self._silence.judge(now)
        if verdict == "ask" and self._channel is not None and self._channel.is_open:
            self._channel.basic_qos(callback=self._heard)
        if verdict == "give up":
            return BrokerUnavailable(
                "RabbitMQ does not answer", remedy="unconfirmed messages are published again; check the network"
            )
        return None

    def _heard(self, _: object) -> None:
        self._silence.heard_at = self._loop.time()


def _resolve(lost: asyncio.Future[Problem], problem: Problem) -> None:
    if not lost.done():
        lost.set_result(problem)
