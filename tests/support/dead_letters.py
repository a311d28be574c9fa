"""A RabbitMQ in memory, as `consumers dlq` uses it: what is put back is counted, and dropped beyond 20 from 4.0 on.

It is no oracle for RabbitMQ: tests/integration has the same on a real one, of the version that is installed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pika
from pika.spec import Basic

_LIMIT = 20  # what quorum queues have without a limit of their own, since 4.0
_TURNS = 9


@dataclass
class Message:
    """One in a queue; `count` is how often it was put back there."""

    id: str
    headers: dict[str, Any]
    count: int = 0
    body: bytes = b"{}"

    @property
    def properties(self) -> pika.BasicProperties:
        counted = {"x-delivery-count": self.count} if self.count else {}
        return pika.BasicProperties(headers={**self.headers, **counted}, message_id=self.id, type="paid", timestamp=1)


class Broker:
    """Queues by name. `step` is called before each thing that a client asks for."""

    def __init__(self, version: str, **queues: list[Message]) -> None:
        self.version = version
        self.queues = queues
        self.published: list[tuple[str, str]] = []
        self.full: set[str] = set()
        self.most_held = 0
        self.step: Callable[[], None] = lambda: None

    def ids(self, queue: str) -> list[str]:
        return [each.id for each in self.queues[queue]]

    async def open(self, *_: object, **__: object) -> "Connection":
        """Stand for Connection.open."""
        return Connection(self)


class Connection:
    """Stands for outboxkit's Connection."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._channels: list[Channel] = []

    async def channel(self, _: object = None) -> "Channel":
        self._channels.append(Channel(self._broker))
        return self._channels[-1]

    async def call(self, method: Callable[..., Any], *arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - pika's
        await asyncio.sleep(0)
        return method(*arguments, **more)

    async def close(self) -> None:
        """Let the broker put back what is not acknowledged."""
        for channel in self._channels:
            channel.lose()


class Channel:
    """Stands for pika's: each answer comes some turns of the loop later, as over a network."""

    def __init__(self, broker: Broker) -> None:
        self.connection = SimpleNamespace(server_properties={"version": broker.version.encode()})
        self._broker = broker
        self._held: dict[int, tuple[str, Message]] = {}
        self._delivered = self._numbered = 0
        self._closed = False

    def add_callback(self, callback: Callable[[object], None], *_: object, **__: object) -> None:
        self._on_empty = callback

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self._on_return = callback

    def confirm_delivery(self, callback: Callable[[object], None]) -> None:
        self._on_confirm = callback

    def queue_declare(self, queue: str, *, passive: bool) -> SimpleNamespace:
        assert passive
        return SimpleNamespace(message_count=len(self._broker.queues[queue]))

    def basic_get(self, queue: str, callback: Callable[..., None]) -> None:
        self._soon(self._get, queue, callback)

    def basic_publish(
        self, exchange: str, queue: str, body: bytes, properties: pika.BasicProperties, *, mandatory: bool
    ) -> None:
        assert (exchange, mandatory) == ("", True)
        self._numbered += 1
        self._soon(self._publish, self._numbered, queue, body, properties)

    def basic_ack(self, tag: int) -> None:
        self._held.pop(tag)
        self._broker.step()

    def lose(self) -> None:
        self._closed = True
        back: dict[str, list[Message]] = {}
        for queue, message in self._held.values():
            message.count += 1
            if self._broker.version < "4" or message.count <= _LIMIT:
                back.setdefault(queue, []).append(message)
        for queue, messages in back.items():
            self._broker.queues[queue][:0] = messages

    def _soon(self, answer: Callable[..., None], *arguments: object) -> None:
        def turn(left: int) -> None:
            if left:
                asyncio.get_running_loop().call_soon(turn, left - 1)
            elif not self._closed:
                answer(*arguments)

        self._broker.step()
        turn(_TURNS)

    def _get(self, queue: str, callback: Callable[..., None]) -> None:
        ready = self._broker.queues[queue]
        if not ready:
            self._on_empty(None)
            return
        message = ready.pop(0)
        self._delivered += 1
        self._held[self._delivered] = queue, message
        self._broker.most_held = max(self._broker.most_held, len(self._held))
        method = SimpleNamespace(message_count=len(ready), delivery_tag=self._delivered)
        callback(self, method, message.properties, message.body)

    def _publish(self, number: int, queue: str, body: bytes, properties: pika.BasicProperties) -> None:
        taken = queue in self._broker.queues and queue not in self._broker.full
        if taken:
            message = Message(str(properties.message_id), dict(properties.headers or {}), body=body)
            self._broker.queues[queue].append(message)
            self._broker.published.append((queue, message.id))
        elif queue not in self._broker.queues:
            self._on_return(self, SimpleNamespace(routing_key=queue), properties, body)
        outcome = Basic.Nack if queue in self._broker.full else Basic.Ack
        self._on_confirm(SimpleNamespace(method=outcome(delivery_tag=number, multiple=False)))
