"""Publishes messages to RabbitMQ: pipelined, persistent, mandatory; delivered means confirmed and not returned.

    publish() ──► encoder ──► pipeline ──► link ──► RabbitMQ
                                 ▲           │ confirm, nack, return, loss
                                 └───────────┘

`link.py` keeps the connection, `answers.py` drops answers of other channels, `pipeline.py` keeps the order,
`returns.py` decides about returned messages, `suspects.py` finds the message that the channel is closed for, and
`nacks.py` gives up a channel on which everything is nacked. What RabbitMQ did not confirm (nacked, or in doubt when
the channel was lost) is published again under the same id (https://www.rabbitmq.com/docs/confirms).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from outboxkit.amqp.errors import BrokerUnavailable
from outboxkit.backoff import Backoff
from outboxkit.errors import Problem
from relay.core.errors import MessageReturned, MessageTooLarge, UnpublishableEvent
from relay.core.observations import BrokerConnected, BrokerLost, Confirmed, Held, Nacked, Observe, Returned
from relay.core.ports import Outcomes, Parcel, Rejection
from relay.publishing import returns, suspects
from relay.publishing.encoding import FRAME_MAX, Encoder
from relay.publishing.link import TIMINGS, Broker, BrokerLink, Timings
from relay.publishing.nacks import Nacks
from relay.publishing.outstanding import Item
from relay.publishing.pipeline import Pipeline
from relay.publishing.suspects import Suspects


@dataclass(frozen=True, slots=True)
class Policy:
    """How to publish."""

    name: str
    """`app_id` of the messages."""
    exchange: str
    window: int
    """How many messages may be unconfirmed."""
    max_message_bytes: int
    on_return: returns.OnReturn
    confirm_timeout: float
    """Seconds without any confirm after which the connection is given up."""
    window_bytes: int = 32 << 20
    """How many bytes of messages may be without an outcome."""
    connection: str | None = None
    """The connection's name; None: `name`."""


class RabbitPublisher:
    """Publishes over one link; call `connect` once before `run`, so that the caller can report a first failure.

    Nothing is sent while `fenced` says that another process may be the active one.
    """

    def __init__(
        self,
        broker: Callable[[], Broker],
        policy: Policy,
        observe: Observe,
        *,
        fenced: Callable[[], bool],
        timings: Timings = TIMINGS,
    ) -> None:
        self._policy = policy
        self._observe = observe
        self._outcomes: Outcomes | None = None
        self._encoder = self._new_encoder(channel=1, frame_max=FRAME_MAX)
        self._pipeline = Pipeline(window=policy.window, window_bytes=policy.window_bytes)
        self._link = BrokerLink(
            broker,
            name=policy.connection or policy.name,
            exchange=policy.exchange,
            fenced=fenced,
            observe=observe,
            timings=timings,
            on_answer=self._answered,
            on_return=self._pipeline.returned,
        )
        self._suspects = Suspects()
        self._nacks = Nacks(timings.nacks_for)
        self._backoff = Backoff()
        self._retry: asyncio.TimerHandle | None = None
        self._halted: MessageReturned | None = None
        self._ended = False
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._awaiting_since = self._loop.time()
        """When the broker last answered for a message, or had none to answer for."""

    # What the engine asks for.

    def notify(self, outcomes: Outcomes) -> None:
        """Report to `outcomes` what becomes of each parcel."""
        self._outcomes = outcomes

    async def connect(self) -> None:
        """Connect, and publish what waits; raises the Problem that prevents it."""
        opened = await self._link.connect()
        self._awaiting_since = self._loop.time()
        self._nacks.restart()
        if (opened.channel, opened.frame_max) != (self._encoder.channel, self._encoder.frame_max):
            self._encoder = self._new_encoder(channel=opened.channel, frame_max=opened.frame_max)
            self._pipeline.encode_again(self._encoder.encode)
        self._observe(BrokerConnected(opened.broker, again=self._pipeline.unfinished))
        self._send()

    async def run(self) -> None:
        """Connect again whenever the link is lost, until cancelled; then close it.

        Raises MessageReturned when a message is returned and the policy is to halt, ProtocolViolated when the broker
        answers for what it was not sent, and any other error that was found in taking an answer: a bug.
        """
        try:
            while True:
                if self._link.connected:
                    problem = await self._link.watch(self._regularly)
                    if self._halted is not None:
                        raise self._halted
                    self._observe(self._explain(problem))
                    await self._disconnect()
                await asyncio.sleep(self._backoff.next_delay())
                try:
                    await self.connect()
                except Problem as problem:
                    self._observe(BrokerLost(problem))
        finally:
            self._ended = True
            self._changed.set()
            await self._disconnect()

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Take `parcels` in order; return when there is room for more. What AMQP cannot carry is rejected at once."""
        taken: list[tuple[Parcel, bytes]] = []
        rejections: list[Rejection] = []
        encode = self._encoder.encode
        for parcel in parcels:
            try:
                frames = encode(parcel.message)
            except UnpublishableEvent as problem:
                reason = "too_large" if isinstance(problem, MessageTooLarge) else "unencodable"
                rejections.append(Rejection(parcel, reason, problem.what))
            else:
                taken.append((parcel, frames))
        self._pipeline.take(taken)
        if rejections:
            self._reject(rejections)
        self._send()
        while self._pipeline.full:
            await self._change()

    async def drained(self) -> None:
        """Return when every parcel taken has an outcome, or can have none any more because `run` has ended."""
        while self._pipeline.unfinished and not self._ended:
            await self._change()

    def in_flight(self) -> int:
        """Return how many parcels have no outcome yet."""
        return self._pipeline.unfinished

    def forget(self) -> None:
        """Drop everything without an outcome, and the connection."""
        self._pipeline.forget()
        self._suspects.clear()
        self._link.give_up(BrokerUnavailable("this process stood still", remedy="it connects again by itself"))
        self._changed.set()

    async def away(self, seconds: float) -> None:
        """Return when there has been no connection for `seconds`."""
        await self._link.away(seconds)

    # What the link reports.

    def _answered(self, tag: int, *, multiple: bool, nack: bool) -> None:
        answer = self._pipeline.answered(tag, multiple=multiple, nack=nack)
        self._awaiting_since = self._loop.time()
        if answer.returned:
            self._give_back(answer.returned)
        if answer.nacked:
            self._nacks.nacked(self._awaiting_since)
            self._observe(Nacked(len(answer.nacked), answer.nacked[0].named()))
        if answer.confirmed or answer.returned:
            self._nacks.accepted()
        if self._suspects.left:
            self._suspects.answered(len(answer.confirmed) + len(answer.returned) + len(answer.nacked))
        if self._pipeline.ready or self._suspects.left:
            self._send()  # before the bookkeeping, which is done while the broker works
        if answer.confirmed:
            self._backoff.reset()
            self._observe(Confirmed(len(answer.confirmed)))
            if self._outcomes is not None:
                self._outcomes.confirmed([item.parcel for item in answer.confirmed])
        self._changed.set()
        if self._pipeline.stuck and self._retry is None:
            self._retry = self._loop.call_later(self._backoff.next_delay(), self._try_again)

    def _regularly(self) -> Problem | None:
        self._send()  # what waited while nothing might be sent
        return self._confirm_overdue() or self._only_nacks()

    def _confirm_overdue(self) -> Problem | None:
        now, timeout = self._loop.time(), self._policy.confirm_timeout
        if self._link.blocked or not self._pipeline.outstanding:
            self._awaiting_since = now
        elif now - self._awaiting_since > timeout:
            return BrokerUnavailable(
                f"RabbitMQ has confirmed nothing for {timeout:g} s",
                remedy="unconfirmed messages are published again; see RabbitMQ's log and its quorum queues' leaders",
            )
        return None

    def _only_nacks(self) -> Problem | None:
        if not self._nacks.last_too_long(self._loop.time()):
            return None
        self._suspects.add(1)  # alone, as in `_try_again`
        self._backoff.reset()
        return BrokerUnavailable(
            "RabbitMQ has nacked everything on this connection",
            remedy="the relay connects again, since another channel may be accepted; if not, see `message nacked`",
        )

    def _explain(self, problem: Problem) -> BrokerLost | Held:
        """Return what the loss of the link means; a message that RabbitMQ will never take is rejected here."""
        culprit = self._pipeline.first()
        if not self._suspects.found(problem, self._pipeline.outstanding) or culprit is None:
            return BrokerLost(problem)
        if not suspects.is_final(problem):
            return suspects.held(culprit, problem)
        rejection, lost = suspects.rejected(culprit, problem)
        self._pipeline.drop()
        self._changed.set()
        self._reject([rejection])
        return lost

    # What follows.

    def _send(self) -> None:
        if not self._link.writable():
            return
        if not self._pipeline.outstanding:
            self._awaiting_since = self._loop.time()
        items = self._pipeline.send(1 if self._suspects.left else None)
        if items:
            self._link.write(b"".join([item.frames for item in items]))

    def _give_back(self, returned: list[tuple[Item, str]]) -> None:
        items = [item for item, _ in returned]
        self._observe(Returned(len(items), items[0].named(), returned[0][1], self._policy.on_return))
        match returns.decide(self._policy.on_return, returned):
            case returns.Park(rejections):
                self._pipeline.finish(items)
                self._reject(rejections)
            case returns.Retry():
                self._pipeline.fail(items)
            case returns.Halt(problem):
                self._pipeline.fail(items)
                self._halted = self._halted or problem
                self._link.give_up(problem)
            case never:
                assert_never(never)

    def _try_again(self) -> None:
        """Send only the first failure again: if it failed once more, the rest would overtake it."""
        self._retry = None
        self._pipeline.retry()
        self._suspects.add(1)
        self._send()

    def _reject(self, rejections: Sequence[Rejection]) -> None:
        if self._outcomes is not None:
            self._outcomes.rejected(rejections)

    async def _disconnect(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._pipeline.lost()
        await self._link.close()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _new_encoder(self, *, channel: int, frame_max: int) -> Encoder:
        return Encoder(
            app_id=self._policy.name,
            channel=channel,
            frame_max=frame_max,
            max_bytes=self._policy.max_message_bytes,
        )
