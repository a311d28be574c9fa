"""Publishes messages to RabbitMQ: pipelined, persistent, mandatory, and settled only by a confirm without a return.

Messages wait in one line, leave in its order, and stay known until they are confirmed. Whatever the broker did not
confirm - nacked, returned, or in doubt when the channel went - goes back to its old place in the line, and is
published again under the same id (https://www.rabbitmq.com/docs/confirms). It never reads the source or the ledger.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog
from pika import BasicProperties, spec
from pika.channel import Channel
from pika.frame import Method

from messaging.backoff import Backoff
from messaging.connection import Connection
from messaging.topology import check_exchange
from relay.event import Message
from relay.ledger import Ticket
from relay.ports import Confirmed
from relay.publishing import encoding
from relay.publishing.outstanding import Item, Outstanding
from runtime.errors import Problem

log = structlog.get_logger()

# How much may be in flight, beside the window in messages.
_WINDOW_BYTES = 32 << 20


class RabbitPublisher:
    """Keeps one channel in confirm mode; at most `window` messages are unconfirmed while `publish` takes more.

    Call `connect` once before `run`: a first failure is the caller's to report.
    """

    def __init__(self, amqp_url: str, *, name: str, exchange: str, window: int) -> None:
        self._amqp_url = amqp_url
        self._name = name
        self._exchange = exchange
        self._window = window
        self._backoff = Backoff()
        self._confirmed: Confirmed = _nobody
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._lost: asyncio.Future[Problem] | None = None
        self._line: deque[Item] = deque()
        self._failed: list[Item] = []
        self._outstanding = Outstanding()
        self._order = 0
        self._unsettled = 0
        self._unsettled_bytes = 0
        self._changed = asyncio.Event()
        self._retry: asyncio.TimerHandle | None = None
        self._returning = False

    def notify(self, confirmed: Confirmed) -> None:
        """Tell `confirmed`, in batches and from the loop, what the broker has taken."""
        self._confirmed = confirmed

    async def connect(self) -> None:
        """Connect, check that the exchange exists, and publish what waits; raises what stands in the way."""
        connection = await Connection.open(self._amqp_url, name=self._name)
        lost: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()

        def on_close(problem: Problem) -> None:
            if not lost.done():
                lost.set_result(problem)

        try:
            channel = await connection.channel(on_close)
            await check_exchange(connection, channel, self._exchange)
            await connection.call(channel.confirm_delivery, self._on_answer)
        except BaseException:
            await connection.close()
            raise
        channel.add_on_return_callback(self._on_return)
        self._connection, self._channel, self._lost = connection, channel, lost
        log.info("publishing", broker=connection.broker, exchange=self._exchange, again=len(self._line))
        self._send()

    async def run(self) -> None:
        """Connect again whenever the connection or the channel is lost, until cancelled; then close."""
        try:
            while True:
                if self._lost is not None:
                    problem = await asyncio.shield(self._lost)
                    await self._disconnect()
                    log.warning("broker lost", reason=problem.what, remedy=problem.remedy, in_doubt=len(self._line))
                await asyncio.sleep(self._backoff.next_delay())
                try:
                    await self.connect()
                except Problem as problem:
                    log.warning("broker not available", reason=problem.what, remedy=problem.remedy)
        finally:
            await self._disconnect()

    async def publish(self, messages: Sequence[tuple[Ticket, Message]]) -> None:
        """Take `messages` in order; return when there is room for more.

        Raises UnpublishableEvent for one that AMQP cannot carry; those before it are taken.
        """
        try:
            for ticket, message in messages:
                content = encoding.encode(message, app_id=self._name)
                self._order += 1
                item = Item(self._order, ticket, message, content)
                self._line.append(item)
                self._unsettled += 1
                self._unsettled_bytes += item.size
        finally:
            self._send()
        while self._unsettled >= self._window or self._unsettled_bytes >= _WINDOW_BYTES:
            await self._change()

    async def settled(self) -> None:
        """Return when every message taken is confirmed."""
        while self._unsettled:
            await self._change()

    def _send(self) -> None:
        """Give the line to the channel, as far as the window goes.

        When something has failed it gives nothing, so as not to overtake more.
        """
        connection, channel = self._connection, self._channel
        if connection is None or channel is None or not channel.is_open or self._failed or not self._line:
            return
        batch: list[bytes] = []
        while self._line and len(self._outstanding) < self._window:
            item = self._line.popleft()
            self._outstanding.published(item)
            batch += encoding.frames(item.content, channel=channel.channel_number, frame_max=connection.frame_max)
        connection.write(b"".join(batch))

    def _on_return(self, _: Channel, method: spec.Basic.Return, properties: BasicProperties, __: bytes) -> None:
        message_id = str(properties.message_id)
        self._outstanding.returned(message_id)
        if not self._returning:  # one line until something is confirmed again
            self._returning = True
            log.warning(
                "message returned",
                message_id=message_id,
                exchange=method.exchange,
                routing_key=method.routing_key,
                reason=method.reply_text,
                remedy="bind a queue to this routing key; the message is published again until one takes it",
            )

    def _on_answer(self, frame: Method[spec.Basic.Ack | spec.Basic.Nack]) -> None:
        items = self._outstanding.answered(frame.method.delivery_tag, multiple=frame.method.multiple)
        nacked = isinstance(frame.method, spec.Basic.Nack)
        confirmed = []
        for item in items:
            if self._outstanding.was_returned(item) or nacked:
                self._failed.append(item)
            else:
                confirmed.append(item)
        if confirmed:
            self._settle(confirmed)
        if self._failed and not self._outstanding and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._backoff.next_delay(), self._try_again)
        if len(self._outstanding) <= self._window // 2:  # not at every confirm: a write is to carry many
            self._send()

    def _settle(self, items: list[Item]) -> None:
        self._unsettled -= len(items)
        self._unsettled_bytes -= sum(item.size for item in items)
        if not self._failed:
            self._backoff.reset()
            self._returning = False
        self._changed.set()
        self._confirmed([item.ticket for item in items])

    def _try_again(self) -> None:
        self._retry = None
        self._back_in_line(self._failed)
        self._send()

    def _back_in_line(self, items: list[Item]) -> None:
        self._line.extendleft(sorted(items, key=lambda item: item.order, reverse=True))
        self._failed = []

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel, self._lost = self._connection, None, None, None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._back_in_line([*self._failed, *self._outstanding.rest()])
        self._outstanding = Outstanding()
        if connection is not None:
            await connection.close()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _nobody(_: Sequence[Ticket]) -> None:
    raise RuntimeError("a message was confirmed before anyone asked to be notified")
