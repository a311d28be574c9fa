"""Publishes messages to RabbitMQ: pipelined, persistent, mandatory, and settled only by a confirm without a return.

It keeps one channel in confirm mode and moves what `pipeline.py` says across it. Whatever the broker did not confirm -
nacked, or in doubt when the channel went - goes again under the same id (https://www.rabbitmq.com/docs/confirms). It
never reads the source or the ledger.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pika import BasicProperties, spec
from pika.channel import Channel
from pika.frame import Method

from outboxkit.amqp.connection import HEARTBEAT_SECONDS, Connection
from outboxkit.amqp.errors import BrokerUnavailable, ChannelRefused, FramesRefused, FramesUnreadable, PreconditionFailed
from outboxkit.amqp.tls import Tls
from outboxkit.amqp.topology import check_exchange
from outboxkit.backoff import Backoff
from outboxkit.errors import Problem
from relay.core.errors import MessageReturned, MessageTooLarge, UnpublishableEvent
from relay.core.observations import (
    Blocked,
    BrokerConnected,
    BrokerLost,
    Confirmed,
    Held,
    Nacked,
    Named,
    Observe,
    Returned,
)
from relay.core.ports import Outcomes, Parcel, Rejection
from relay.publishing import encoding
from relay.publishing.outstanding import Item
from relay.publishing.pipeline import Pipeline

# How much may be in flight, beside the window in messages.
_WINDOW_BYTES = 32 << 20
_WATCH_EVERY = 0.5
# The broker is asked a question when it has answered nothing for so long.
_ASK_AFTER = HEARTBEAT_SECONDS / 2
# How long its answer may take; each time in a row that it does not come doubles it, so that a large
# message over a slow link gets there.
_ANSWER_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Broker:
    """How to reach RabbitMQ; asked for at each connect, so that changed secrets are picked up."""

    url: str
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How to publish."""

    name: str
    """`app_id` of the messages, and name of the connection."""
    exchange: str
    window: int
    """Messages that may be unconfirmed."""
    max_message_bytes: int
    on_return: Literal["park", "retry", "halt"]
    confirm_timeout: float
    """Seconds without any confirm after which the connection is given up."""


class RabbitPublisher:
    """Keeps one connection to the broker; call `connect` once before `run`: a first failure is the caller's to report.

    Nothing is sent while `fenced` says that this process may have been replaced.
    """

    def __init__(
        self, broker: Callable[[], Broker], policy: Policy, observe: Observe, *, fenced: Callable[[], bool]
    ) -> None:
        self._broker = broker
        self._policy = policy
        self._observe = observe
        self._fenced = fenced
        self._backoff = Backoff()
        self._outcomes: Outcomes | None = None
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._lost: asyncio.Future[Problem] | None = None
        self._halted: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()
        self._pipeline = Pipeline(window=policy.window, window_bytes=_WINDOW_BYTES)
        self._encoder = self._encoding(channel=1, frame_max=spec.FRAME_MAX_SIZE)
        self._changed = asyncio.Event()
        self._retry: asyncio.TimerHandle | None = None
        self._careful = 0
        self._blocked = False
        self._loop = asyncio.get_running_loop()
        self._answered_at = self._heard_at = self._away_since = self._loop.time()
        self._asked_at: float | None = None
        self._patience = 1

    def notify(self, outcomes: Outcomes) -> None:
        """Tell `outcomes` what becomes of what is published."""
        self._outcomes = outcomes

    async def connect(self) -> None:
        """Connect, check that the exchange exists, and publish what waits; raises what stands in the way."""
        broker = self._broker()
        connection = await Connection.open(broker.url, name=self._policy.name, tls=broker.tls)
        lost: asyncio.Future[Problem] = self._loop.create_future()

        def on_close(problem: Problem) -> None:
            if not lost.done():
                lost.set_result(problem)

        try:
            channel = await connection.channel(on_close)
            await check_exchange(connection, channel, self._policy.exchange)
            await connection.call(channel.confirm_delivery, self._on_answer)
        except BaseException:
            await connection.close()
            raise
        channel.add_on_return_callback(self._on_return)
        connection.guard(self._fenced)
        self._connection, self._channel, self._lost = connection, channel, lost
        self._answered_at = self._heard_at = self._loop.time()
        self._asked_at = None
        if (channel.channel_number, connection.frame_max) != (self._encoder.channel, self._encoder.frame_max):
            self._encoder = self._encoding(channel=channel.channel_number, frame_max=connection.frame_max)
            self._pipeline.encode_again(self._encoder.encode)
        self._observe(BrokerConnected(connection.broker, again=self._pipeline.unsettled))
        self._send()

    async def run(self) -> None:
        """Connect again whenever the connection or the channel is lost, until cancelled; then close.

        Raises MessageReturned when the policy is to halt at one.
        """
        try:
            while True:
                if self._lost is not None:
                    self._observe(self._what_happened(await self._watch(self._lost)))
                    await self._disconnect()
                await asyncio.sleep(self._backoff.next_delay())
                try:
                    await self.connect()
                except Problem as problem:
                    self._observe(BrokerLost(problem))
        finally:
            await self._disconnect()

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Take `parcels` in order; return when there is room for more. What AMQP cannot carry is rejected at once."""
        taken: list[tuple[Parcel, bytes]] = []
        rejections: list[Rejection] = []
        for parcel in parcels:
            try:
                frames = self._encoder.encode(parcel.message)
            except UnpublishableEvent as problem:
                reason = "too_large" if isinstance(problem, MessageTooLarge) else "unencodable"
                rejections.append(Rejection(parcel, reason, problem.what))
            else:
                taken.append((parcel, frames))
        self._pipeline.take(taken)
        if rejections and self._outcomes is not None:
            self._outcomes.rejected(rejections)
        self._send()
        while self._pipeline.full:
            await self._change()

    async def settled(self) -> None:
        """Return when every parcel taken has an outcome, or none can be had any more."""
        while self._pipeline.unsettled and not self._halted.done():
            await self._change()

    def in_flight(self) -> int:
        """Return how many parcels have no outcome yet."""
        return self._pipeline.unsettled

    def forget(self) -> None:
        """Drop everything without an outcome, and the connection."""
        self._pipeline.forget()
        self._careful = 0
        self._channel = None  # its tags and answers mean nothing from here on
        if self._connection is not None:
            self._connection.abort()  # closed in order, it would send what waits for the socket
        self._changed.set()
        self._give_up(BrokerUnavailable("this process stood still", remedy="it connects again by itself"))

    async def away(self, seconds: float) -> None:
        """Return when the broker has not been there for so long."""
        left = seconds
        while left > 0:
            await asyncio.sleep(left)
            left = seconds if self._connection else self._away_since + seconds - self._loop.time()

    async def _watch(self, lost: asyncio.Future[Problem]) -> Problem:
        """Return why the connection is lost: it says so, or it confirms nothing for too long."""
        while True:
            done, _ = await asyncio.wait(
                [lost, self._halted], timeout=_WATCH_EVERY, return_when=asyncio.FIRST_COMPLETED
            )
            if self._halted in done:
                raise self._halted.result()
            if lost in done:
                return lost.result()
            blocked = self._connection is not None and self._connection.blocked
            if blocked != self._blocked:
                self._blocked = blocked
                self._observe(Blocked(blocked))
            if blocked or not self._pipeline.outstanding:
                self._answered_at = self._loop.time()
            elif self._loop.time() - self._answered_at > self._policy.confirm_timeout:
                return BrokerUnavailable(
                    f"RabbitMQ has confirmed nothing for {self._policy.confirm_timeout:g} s",
                    remedy="the messages in doubt go again; see RabbitMQ's log and its quorum queues' leaders",
                )
            if self._unheard():
                self._patience *= 2
                return BrokerUnavailable(
                    "RabbitMQ does not answer", remedy="the messages in doubt go again; check the network"
                )

    def _unheard(self) -> bool:
        """Tell whether the broker hears nothing; it is asked when it has answered nothing for a while.

        Its heartbeats show that one direction works; only a question that must be answered shows both. It does not
        read a connection that it has blocked (https://www.rabbitmq.com/docs/connection-blocked).
        """
        now = self._loop.time()
        if self._blocked:
            self._heard_at, self._asked_at = now, None
        elif self._asked_at is not None:
            return now - self._asked_at > _ANSWER_WITHIN * self._patience
        elif now - self._heard_at > _ASK_AFTER and self._channel is not None and self._channel.is_open:
            self._asked_at = now
            self._channel.basic_qos(callback=lambda _: self._heard())
        return False

    def _heard(self) -> None:
        self._heard_at, self._asked_at = self._loop.time(), None
        self._patience = 1

    def _what_happened(self, problem: Problem) -> BrokerLost | Held:
        """Tell what the loss of the connection means, and find the message that it or the channel was closed for.

        From a first refusal on, what was in doubt goes one by one. Sent alone, the others are confirmed once, and the
        culprit is the one that is outstanding. What it lacks may be made, so it is tried again; a message that the
        broker does not take as it is, such as one that is larger than its max_message_size, or that it cannot read, is
        rejected.
        """
        if not isinstance(problem, ChannelRefused | FramesRefused):
            return BrokerLost(problem)
        culprit = self._pipeline.first()
        if not self._careful or self._pipeline.outstanding != 1 or culprit is None:
            self._careful = max(self._careful, self._pipeline.outstanding)
            return BrokerLost(problem)
        if isinstance(problem, PreconditionFailed | FramesUnreadable):
            self._pipeline.drop()
            self._changed.set()
            if self._outcomes is not None:
                self._outcomes.rejected([Rejection(culprit.parcel, "refused", problem.what)])
            what = f"{problem.what}, for event {culprit.parcel.message.id}"
            return BrokerLost(type(problem)(what, remedy="it is parked: see `relay parked list`"))
        meanwhile = "it is tried again, and holds up what is behind it: `relay slot skip` steps over it, and parks it"
        return Held(_named(culprit), type(problem)(problem.what, remedy=f"{problem.remedy}; {meanwhile}"))

    def _encoding(self, *, channel: int, frame_max: int) -> encoding.Encoder:
        return encoding.Encoder(
            app_id=self._policy.name,
            channel=channel,
            frame_max=frame_max,
            max_bytes=self._policy.max_message_bytes,
        )

    def _send(self) -> None:
        connection, channel = self._connection, self._channel
        if connection is None or channel is None or not channel.is_open or self._fenced():
            return
        if not self._pipeline.outstanding:
            self._answered_at = self._loop.time()
        items = self._pipeline.send(1 if self._careful else None)
        if items:
            connection.write(b"".join([item.frames for item in items]))

    def _on_return(self, _: Channel, method: spec.Basic.Return, properties: BasicProperties, __: bytes) -> None:
        if self._channel is None:
            return
        self._pipeline.returned(str(properties.message_id), method.reply_text or "")

    def _on_answer(self, frame: Method[spec.Basic.Ack | spec.Basic.Nack]) -> None:
        if self._channel is None:
            return
        nack = isinstance(frame.method, spec.Basic.Nack)
        answer = self._pipeline.answered(frame.method.delivery_tag, multiple=frame.method.multiple, nack=nack)
        self._answered_at = self._loop.time()
        self._heard()
        if answer.returned:
            self._give_back(answer.returned)
        if answer.nacked:
            self._observe(Nacked(len(answer.nacked), _named(answer.nacked[0])))
        answered = len(answer.confirmed) + len(answer.returned) + len(answer.nacked)
        self._careful = max(0, self._careful - answered)
        if self._pipeline.thirsty or self._careful:
            self._send()  # first of all: the broker works while the rest is noted
        if answer.confirmed:
            self._backoff.reset()
            self._observe(Confirmed(len(answer.confirmed)))
            if self._outcomes is not None:
                self._outcomes.confirmed([item.parcel for item in answer.confirmed])
        self._changed.set()
        if self._pipeline.stuck and self._retry is None:
            self._retry = self._loop.call_later(self._backoff.next_delay(), self._try_again)

    def _give_back(self, returned: list[tuple[Item, str]]) -> None:
        items = [item for item, _ in returned]
        self._observe(Returned(len(items), _named(items[0]), returned[0][1], self._policy.on_return))
        match self._policy.on_return:
            case "retry":
                self._pipeline.fail(items)
            case "park":
                self._pipeline.settle(items)
                if self._outcomes is not None:
                    self._outcomes.rejected(
                        [Rejection(item.parcel, "returned", _returned(item, why)) for item, why in returned]
                    )
            case "halt":
                self._pipeline.fail(items)
                if not self._halted.done():
                    self._halted.set_result(
                        MessageReturned(
                            f"event {items[0].parcel.event.id}: {_returned(*returned[0])}",
                            remedy="bind a queue to this routing key, then start the relay again; "
                            "or set RELAY_ON_RETURN to park or retry",
                        )
                    )

    def _try_again(self) -> None:
        """Send the first of what failed, alone: were the way free from the second on, it would be overtaken."""
        self._retry = None
        self._pipeline.retry()
        self._careful = max(self._careful, 1)
        self._send()

    def _give_up(self, problem: Problem) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(problem)

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel, self._lost = self._connection, None, None, None
        self._away_since = self._loop.time()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._pipeline.lost()
        if connection is not None:
            await connection.close()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _named(item: Item) -> Named:
    message = item.parcel.message
    return Named(message.id, message.route.exchange, message.route.routing_key)


def _returned(item: Item, why: str) -> str:
    route = item.parcel.message.route
    return f"no queue takes routing key {route.routing_key!r} on exchange {route.exchange!r} ({why})"
