"""Asks RabbitMQ about what exists: each question has a channel of its own, since a refusal closes the channel.

It declares only what exists already, which changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from pika.channel import Channel

from outboxkit.amqp.answers.answer import ACCEPTED, NO_ANSWER, PRECONDITION_FAILED, Answer, differing
from outboxkit.amqp.connection import Connection
from outboxkit.amqp.errors import BrokerRefused, BrokerUnavailable, ChannelRefused
from outboxkit.amqp.tls import Tls
from outboxkit.amqp.url import Node
from outboxkit.amqp.url import nodes as named
from outboxkit.checks.finding import Unknown
from outboxkit.checks.nodes import Nodes
from outboxkit.errors import Problem

_TIMEOUT = 3.0
# A queue has fewer arguments than this; each refusal names one.
_GUESSES = 20

__all__ = ["Channel", "Guess", "QueueAnswer", "answered", "nodes", "queue", "tried"]

Act: TypeAlias = Callable[[Channel], Awaitable[Answer | None]]
Facts = TypeVar("Facts")


@dataclass(slots=True)
class Guess:
    """The properties that a queue probably has."""

    durable: bool = True
    auto_delete: bool = False
    arguments: dict[str, str | int] = field(default_factory=lambda: {"x-queue-type": "classic"})

    def learn(self, refusal: str) -> bool:
        """Correct the guess by the text of a 406; return whether the text could be used."""
        found = differing(refusal)
        if found is None:
            return False
        name, value = found
        if name in {"durable", "auto_delete"}:
            setattr(self, name, value == "true")
        elif not name.startswith("x-"):
            return False
        elif value is None:
            self.arguments.pop(name, None)
        else:
            self.arguments[name] = value
        return True


@dataclass(frozen=True, slots=True)
class QueueAnswer:
    """Whether a queue exists, and its arguments; None if they are unknown."""

    answer: Answer
    arguments: Mapping[str, str | int] | None
    why_unknown: str = ""


async def answered(url: str, ask: Callable[[Connection], Awaitable[Facts]], *, name: str, tls: Tls) -> Facts | Unknown:
    """Return what `ask` finds on its own connection. A problem of the broker makes it unknown and is not raised."""
    try:
        connection = await Connection.open(url, name=name, tls=tls)
    except Problem as problem:
        return Unknown(problem.what, problem.remedy)
    try:
        return await ask(connection)
    except Problem as problem:
        return Unknown(problem.what, problem.remedy)
    finally:
        await connection.close()


async def nodes(url: str, *, name: str, tls: Tls) -> Nodes:
    """Connect to each node that `url` names, at the same time; not to an only one, to which the caller is connected."""

    async def wrong(node: Node) -> Problem | None:
        try:
            connection = await Connection.to(node, name=name, tls=tls)
        except (BrokerUnavailable, BrokerRefused) as problem:
            return problem
        await connection.close()
        return None

    each = named(url)
    problems = await asyncio.gather(*map(wrong, each)) if len(each) > 1 else []
    return Nodes([str(node) for node in each], [problem for problem in problems if problem is not None])


async def queue(connection: Connection, name: str) -> QueueAnswer:
    """Ask for a queue, and guess its arguments: each refusal corrects a guess. It is declared only if it exists."""

    async def there(channel: Channel) -> None:
        await connection.call(channel.queue_declare, name, passive=True)

    found = await tried(connection, there)
    guess = Guess()
    refused = found
    for _ in range(_GUESSES if found.code == ACCEPTED else 0):

        async def declared(channel: Channel) -> None:
            await connection.call(
                channel.queue_declare,
                name,
                durable=guess.durable,
                auto_delete=guess.auto_delete,
                arguments=guess.arguments,
            )

        refused = await tried(connection, declared)
        if refused.code == ACCEPTED:
            return QueueAnswer(found, guess.arguments)
        if refused.code != PRECONDITION_FAILED or not guess.learn(refused.text):
            break
    return QueueAnswer(found, None, why_unknown=refused.text or "RabbitMQ did not answer in time")


async def tried(connection: Connection, act: Act) -> Answer:
    """Run `act` on its own channel, which a refusal closes; raises BrokerUnavailable if the connection is lost."""
    if connection.blocked:
        return Answer(NO_ANSWER)
    reasons: list[Any] = []
    try:
        async with asyncio.timeout(_TIMEOUT):  # RabbitMQ does not read from a blocked publisher
            channel = await connection.channel()
            channel.add_on_close_callback(lambda _, reason: reasons.append(reason))
            answer = await act(channel)
    except TimeoutError:
        return Answer(NO_ANSWER)
    except ChannelRefused as problem:
        reason = reasons[0] if reasons else None
        return Answer(getattr(reason, "reply_code", NO_ANSWER), getattr(reason, "reply_text", problem.what))
    if channel.is_open:
        channel.close()
    return answer or Answer(ACCEPTED)
