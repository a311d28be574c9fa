"""Which messages a broker confirmed: acked, and not returned before. Pure."""

from collections.abc import Iterator
from typing import assert_never

from tests.support.wire.amqp import Answered, Fact, Opened, Published, Returned, Selected


class Confirms:
    """Matches the answers of one connection with what was published on it."""

    def __init__(self) -> None:
        self._channels: dict[int, _Channel] = {}

    def read(self, fact: Fact) -> list[str]:
        """Return the messages that `fact` confirms."""
        match fact:
            case Opened():
                self._channels.pop(fact.channel, None)
            case Selected():
                self._channels[fact.channel] = _Channel()
            case Published():
                self._channel(fact.channel).published(fact.message)
            case Returned():
                self._channel(fact.channel).returned(fact.message)
            case Answered():
                answered = list(self._channel(fact.channel).answered(fact.tag, multiple=fact.multiple))
                return [] if fact.nack else answered
            case _:
                assert_never(fact)
        return []

    def _channel(self, number: int) -> "_Channel":
        return self._channels.get(number) or _Channel()  # a channel without confirms yields nothing


class _Channel:
    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[int, str] = {}
        self._returned: dict[str, int] = {}

    def published(self, message: str) -> None:
        self._count += 1
        self._waiting[self._count] = message

    def returned(self, message: str) -> None:
        # A return comes before its ack and has no delivery tag: it belongs to the oldest publish of its message.
        self._returned[message] = self._returned.get(message, 0) + 1

    def answered(self, tag: int, *, multiple: bool) -> Iterator[str]:
        """Yield the messages that the answer covers and that were not returned."""
        tags = [each for each in self._waiting if each <= tag] if multiple else [tag]
        for each in tags:
            message = self._waiting.pop(each, None)
            if message is None:
                continue
            if self._returned.get(message):
                self._returned[message] -= 1
            else:
                yield message
