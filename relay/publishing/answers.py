"""An answer belongs to the channel that asked: what comes from any other channel is dropped. Pure.

Delivery tags count from 1 on each channel. An answer of a connection that was given up, taken for one of the next
connection, would confirm another message.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

C = TypeVar("C")


class OnAnswer(Protocol):
    """Takes a confirm, or a nack, as the broker sent it."""

    def __call__(self, tag: int, *, multiple: bool, nack: bool) -> None:
        """Take the answer for `tag` or, with `multiple`, for all tags up to it."""


class Answers(Generic[C]):
    """Passes on what the broker answers on the open channel.

    An error of the code that takes an answer is reported by `on_error`, once: the channel is closed by it. The client
    library would take it for a loss of the connection, which is tried again.
    """

    def __init__(
        self,
        on_answer: OnAnswer,
        on_return: Callable[[str, str], None],
        *,
        on_heard: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._on_answer = on_answer
        self._on_return = on_return
        self._on_heard = on_heard
        self._on_error = on_error
        self.channel: C | None = None
        """The open channel; None from when it is given up."""

    def answered(self, channel: C, tag: int, *, multiple: bool, nack: bool) -> None:
        """Take a confirm or a nack that came on `channel`."""
        if channel is not self.channel:
            return
        self._on_heard()
        try:
            self._on_answer(tag, multiple=multiple, nack=nack)
        except Exception as error:  # noqa: BLE001 - reported
            self._fail(error)

    def returned(self, channel: C, message_id: str, why: str) -> None:
        """Take a return that came on `channel`."""
        if channel is not self.channel:
            return
        try:
            self._on_return(message_id, why)
        except Exception as error:  # noqa: BLE001 - reported
            self._fail(error)

    def replied(self, channel: C) -> None:
        """Note that the broker has replied to a question on `channel`."""
        if channel is self.channel:
            self._on_heard()

    def _fail(self, error: Exception) -> None:
        self.channel = None
        self._on_error(error)
