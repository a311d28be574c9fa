"""The messages of a dead-letter queue, one after another, and their way back.

A message that is taken stays unacknowledged until it is moved, dropped or renewed. All others go back to their places
when the connection ends, also with the process. RabbitMQ marks them as redelivered. A renewed one is behind all others,
and has lost x-death.

A message is moved by publishing it again, mandatory and persistent; the old one is acknowledged after the confirm. A
process that is killed between leaves two: consumers skip the second as a duplicate.

A message that RabbitMQ would drop when it is put back must be renewed before the connection ends, or is lost with a
process that is killed. So who only looks renews after each `take`: one message is at stake for one round trip. Who
moves messages would publish each twice that way, so it renews what is left of a batch when it has moved the others.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import pika
from pika.channel import Channel
from pika.spec import Basic

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.consuming.putting_back import may_be_dropped, version
from outboxkit.amqp.errors import BrokerRefused
from outboxkit.amqp.format import PERSISTENT, ROUTING_KEY
from outboxkit.errors import Problem

_SECONDS = 30.0
_COUNTS = ("x-acquired-count", "x-delivery-count")
_DIED = "x-died"  # a header: what RabbitMQ said of the death, of a message that was renewed
_OF_BROKER = ("x-death", "x-first-death-", "x-last-death-", *_COUNTS, _DIED)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of a dead-letter queue; `tag` is its delivery."""

    tag: int
    message_id: str | None
    headers: Mapping[str, object]
    reason: str | None
    """Why RabbitMQ dead-lettered it: rejected, delivery_limit, expired or maxlen."""
    died_at: datetime | None
    routing_key: str | None
    """The key under which it was published first."""
    deliveries: int
    """How often it was delivered and put back: from this queue, and since RabbitMQ 4.3 before its death too."""
    properties: pika.BasicProperties = field(repr=False)
    body: bytes = field(repr=False)


class DeadLetters:
    """Takes messages of `queue`; `await DeadLetters.open(connection, queue)` returns it."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._open: Channel | None = None
        self._taken: asyncio.Future[Letter | None] | None = None
        self._lost: Problem | None = None
        self._sent: dict[int, asyncio.Future[bool]] = {}
        self._returned: set[tuple[str, str | None]] = set()
        self._published = 0
        self._worn: dict[int, Letter] = {}
        """What RabbitMQ may drop when the connection ends, by its tag."""
        self._renewed = 0
        self.left = 0
        """How many messages were behind the one that was taken last; those that were renewed do not count."""

    @classmethod
    async def open(cls, connection: Connection, queue: str) -> Self:
        """Open a channel in confirm mode."""
        letters = cls(queue)
        letters._open = channel = await connection.channel(letters._on_lost)
        channel.add_callback(letters._on_empty, [Basic.GetEmpty], one_shot=False)
        channel.add_on_return_callback(letters._on_return)
        await connection.call(channel.confirm_delivery, letters._on_confirm)
        return letters

    @property
    def _channel(self) -> Channel:
        if self._lost is not None:
            raise self._lost
        assert self._open is not None  # noqa: S101 - `open` has set it
        return self._open

    async def take(self) -> Letter | None:
        """Take the next message; None if there is none but renewed ones. Raises ChannelRefused if there is no queue."""
        if self._renewed and not self.left:
            return None
        self._taken = asyncio.get_running_loop().create_future()
        self._channel.basic_get(self._queue, self._on_message)
        return await _answer(self._taken)

    async def move(self, letters: Sequence[Letter], queue: str, *, with_key: bool = False) -> None:
        """Publish `letters` to `queue` as they were, and acknowledge each when RabbitMQ has confirmed it.

        They come to it under its name for a key; `with_key` keeps the one that they had first, in a header.
        Raises Problem if one is returned or nacked: it stays where it was.
        """
        failed = await self._replace([(each, self._publish(each, queue, with_key=with_key)) for each in letters], queue)
        if failed:
            raise BrokerRefused(
                f"RabbitMQ did not take {len(failed)} messages into queue {queue!r}, such as {failed[0]}; they stay in "
                f"{self._queue!r}",
                remedy=f"`consumers run` declares {queue!r} when it starts: start one, and repeat this",
            )

    async def renew(self) -> None:
        """Publish again what was taken and RabbitMQ may drop when it is put back; it counts from 0 then.

        The new messages are behind all others; when and why they died stays known. Who is cancelled waits for the end.
        """
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait([renewing])
        finally:
            await asyncio.wait([renewing])
            renewing.result()

    async def _renew(self) -> None:
        if self._taken is not None and not self._taken.done():  # who took it was cancelled
            await asyncio.wait([self._taken], timeout=_SECONDS)
        waiting = []
        for letter in self._worn.values():
            death = {name: value for name, value in (("reason", letter.reason), ("time", letter.died_at)) if value}
            waiting.append((letter, self._publish(letter, self._queue, with_key=True, more={_DIED: death})))
        failed = await self._replace(waiting, self._queue)
        self._renewed += len(waiting) - len(failed)
        if failed:
            raise BrokerRefused(
                f"RabbitMQ did not take {len(failed)} messages back into {self._queue!r}, such as {failed[0]}, and may "
                "drop them now, since they were put back too often",
                remedy="find the policy that limits the queue with rabbitmqctl list_policies, raise it, and repeat",
            )

    async def _replace(self, waiting: Sequence[tuple[Letter, "asyncio.Future[bool]"]], queue: str) -> list[str]:
        """Remove each letter when its copy is confirmed; return the ids of those whose copy was not taken."""
        failed: list[str] = []
        for letter, confirmed in waiting:
            if await _answer(confirmed) and (queue, letter.message_id) not in self._returned:
                self.drop(letter)
            else:
                failed.append(str(letter.message_id))
        return failed

    def drop(self, letter: Letter) -> None:
        """Remove a message."""
        self._channel.basic_ack(letter.tag)
        self._worn.pop(letter.tag, None)

    def _publish(
        self, letter: Letter, queue: str, *, with_key: bool, more: Mapping[str, object] | None = None
    ) -> "asyncio.Future[bool]":
        before = letter.properties
        # RabbitMQ would take its own headers of the first death for those of a cycle.
        headers: dict[str, Any] = {
            name: value for name, value in (before.headers or {}).items() if not name.startswith(_OF_BROKER)
        }
        if with_key and letter.routing_key is not None:
            headers[ROUTING_KEY] = letter.routing_key
        headers.update(more or {})
        properties = pika.BasicProperties(
            content_type=before.content_type,
            content_encoding=before.content_encoding,
            headers=headers,
            delivery_mode=PERSISTENT,
            correlation_id=before.correlation_id,
            reply_to=before.reply_to,
            message_id=before.message_id,
            timestamp=before.timestamp,
            type=before.type,
            app_id=before.app_id,
        )
        confirmed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._published += 1  # RabbitMQ numbers what a channel publishes from 1 on
        self._sent[self._published] = confirmed
        self._channel.basic_publish("", queue, letter.body, properties, mandatory=True)
        return confirmed

    def _on_message(self, _: Channel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:  # noqa: ANN401 - pika's
        letter = _letter(int(method.delivery_tag), properties, body)
        if may_be_dropped(version(getattr(self._channel.connection, "server_properties", None)), letter.headers):
            self._worn[letter.tag] = letter
        if self._taken is not None and not self._taken.done():
            self.left = max(0, int(method.message_count) - self._renewed)
            self._taken.set_result(letter)

    def _on_empty(self, _: object) -> None:
        if self._taken is not None and not self._taken.done():
            self.left = 0
            self._taken.set_result(None)

    def _on_return(self, _: Channel, method: Any, properties: pika.BasicProperties, __: bytes) -> None:  # noqa: ANN401 - pika's
        self._returned.add((str(method.routing_key), properties.message_id))

    def _on_confirm(self, frame: Any) -> None:  # noqa: ANN401 - pika's
        tag, taken = frame.method.delivery_tag, isinstance(frame.method, Basic.Ack)
        for number in [each for each in self._sent if each == tag or (frame.method.multiple and each < tag)]:
            confirmed = self._sent.pop(number)
            if not confirmed.done():
                confirmed.set_result(taken)

    def _on_lost(self, problem: Problem) -> None:
        self._lost = problem
        self._worn.clear()  # RabbitMQ has them back already
        for future in (self._taken, *self._sent.values()):
            if future is not None and not future.done():
                future.set_exception(problem)


async def _answer(answer: "asyncio.Future[R]") -> R:
    """Wait for what RabbitMQ answers; it still comes when who waits is cancelled."""
    done, _ = await asyncio.wait([answer], timeout=_SECONDS)
    if not done:
        raise TimeoutError
    return answer.result()


def _letter(tag: int, properties: pika.BasicProperties, body: bytes) -> Letter:
    headers = {str(name): value for name, value in (properties.headers or {}).items()}
    deaths = headers.get("x-death")
    of_broker: object = deaths[0] if isinstance(deaths, list) and deaths else None
    noted = of_broker if isinstance(of_broker, dict) else headers.get(_DIED)
    death: Mapping[str, Any] = noted if isinstance(noted, dict) else {}
    time = death.get("time")
    return Letter(
        tag,
        properties.message_id,
        headers,
        str(death["reason"]) if "reason" in death else None,
        time.replace(tzinfo=UTC) if isinstance(time, datetime) else None,
        _first_key(headers),
        max((count for name in _COUNTS if isinstance(count := headers.get(name), int)), default=0),
        properties,
        body,
    )


def _first_key(headers: Mapping[str, object]) -> str | None:
    """Return the key that a message had before it was dead-lettered first, or moved back."""
    match headers.get(ROUTING_KEY), headers.get("x-death"):
        case (str(key), _) | (_, [*_, {"routing-keys": [str(key), *_]}]):
            return key
        case _:
            return None
