"""The link to RabbitMQ: one connection with one channel in confirm mode, opened again by `connect` after each loss.

It opens, passes on what the broker answers, asks a silent broker, and gives up one that does not answer. It knows
nothing of messages, and it never connects by itself. This is the relay's only file that imports pika.

An answer belongs to the channel that asked: a channel is its own generation, and what comes from another one is
dropped. A connection that is given up is aborted: nothing of it is written or read any more.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from pika import BasicProperties
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic

from outboxkit.amqp.connection import HEARTBEAT_SECONDS, Connection
from outboxkit.amqp.errors import AccessRefused, BrokerUnavailable
from outboxkit.amqp.tls import Tls
from outboxkit.amqp.topology import check_exchange
from outboxkit.amqp.turn import Turn
from outboxkit.errors import Problem
from relay.core.observations import Blocked, Observe
from relay.publishing.answers import Answers, OnAnswer
from relay.publishing.silence import Silence


@dataclass(frozen=True, slots=True)
class Broker:
    """How to reach RabbitMQ; read at each connect, so that changed secrets are picked up."""

    url: str
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """How often the link is checked, and how long a broker has that is silent or nacks everything; in seconds."""

    check_every: float = 0.5
    ask_after: float = HEARTBEAT_SECONDS / 2
    """Without any answer for this long, the broker is asked a question."""
    answer_within: float = 5.0
    """How long its reply may take at first; see `Silence`."""
    nacks_for: float = 3.0
    """How long it may nack everything at first; see `Nacks`. An election takes less."""


TIMINGS = Timings()


class Opened(NamedTuple):
    """What an open link has."""

    broker: str
    """`host:port/vhost`."""
    channel: int
    frame_max: int


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
        self._answers: Answers[Channel] = Answers(on_answer, on_return, on_heard=self._heard, on_error=self._fail)
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._silence = Silence(now, ask_after=timings.ask_after, answer_within=timings.answer_within)
        self._away_since = now
        self._turn = Turn()
        self._connection: Connection | None = None
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
        try:
            channel, lost = await self._checked(connection)
            await connection.call(channel.confirm_delivery, partial(self._answered, channel))
        except BaseException:
            await connection.close()
            raise
        channel.add_on_return_callback(self._returned)
        connection.guard(self._fenced)
        self._connection, self._answers.channel, self._lost = connection, channel, lost
        self._silence.restart(self._loop.time())
        return Opened(connection.broker, channel.channel_number, connection.frame_max)

    async def _checked(self, connection: Connection) -> tuple[Channel, asyncio.Future[Problem]]:
        """Return a channel, and what is set when it is lost; raises ChannelRefused if the exchange does not exist.

        Who may not ask for it may still publish to it (`check_exchange`): then the first message tells.
        """
        channel, lost = await self._channel(connection)
        try:
            await check_exchange(connection, channel, self._exchange)
        except AccessRefused:
            return await self._channel(connection)
        return channel, lost

    async def _channel(self, connection: Connection) -> tuple[Channel, asyncio.Future[Problem]]:
        lost: asyncio.Future[Problem] = self._loop.create_future()
        return await connection.channel(partial(_resolve, lost)), lost

    def writable(self) -> bool:
        """Return whether frames may be sent now."""
        channel = self._answers.channel
        return channel is not None and channel.is_open and not self._fenced()

    def write(self, frames: bytes) -> None:
        """Send `frames` in one piece; call it only while the link is writable."""
        if self._connection is not None:
            self._connection.write(frames)

    async def watch(self, overdue: Callable[[], Problem | None]) -> Problem:
        """Return why the connection is lost or given up; `overdue` is asked regularly for the caller's own reason.

        Raises what the caller's own code raised when it took an answer.
        """
        while True:
            done, _ = await asyncio.wait([self._lost], timeout=self._check_every)
            if done:
                return self._lost.result()
            self._note_blocked()
            if problem := overdue() or self._check_silence():
                self.give_up(problem)

    def give_up(self, problem: Problem) -> None:
        """Lose the connection at once, with what waits for the socket; `problem` is why, if it is not lost already."""
        self._abort()
        _resolve(self._lost, problem)

    async def close(self) -> None:
        """Close the connection in order, unless it was given up; does nothing without one."""
        connection, self._connection, self._answers.channel = self._connection, None, None
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
        answer = frame.method
        nack = isinstance(answer, Basic.Nack)
        self._answers.answered(channel, answer.delivery_tag, multiple=answer.multiple, nack=nack)

    def _returned(self, channel: Channel, method: Basic.Return, properties: BasicProperties, _: bytes) -> None:
        self._answers.returned(channel, str(properties.message_id), method.reply_text or "")

    def _heard(self) -> None:
        self._silence.heard_at = self._loop.time()

    def _fail(self, error: Exception) -> None:
        """Let `watch` raise `error`."""
        self._abort()
        if self._lost.done():
            self._lost = self._loop.create_future()
        self._lost.set_exception(error)

    def _abort(self) -> None:
        self._answers.channel = None
        if self._connection is not None:
            self._connection.abort()  # `close` would first send what waits for the socket

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
        channel = self._answers.channel
        if verdict == "ask" and channel is not None and channel.is_open:
            channel.basic_qos(callback=lambda _: self._answers.replied(channel))
        if verdict == "give up":
            return BrokerUnavailable(
                "RabbitMQ does not answer", remedy="unconfirmed messages are published again; check the network"
            )
        return None


def _resolve(lost: asyncio.Future[Problem], problem: Problem) -> None:
    if not lost.done():
        lost.set_result(problem)
