"""`relay run --stdout`: messages as JSON lines instead of AMQP. Nothing is confirmed by anyone but the pipe."""

import asyncio
import json
from collections.abc import Sequence
from typing import TextIO

from relay.event import Message
from relay.ledger import Ticket
from relay.ports import Confirmed


class LinePublisher:
    """Writes each message as one line of JSON to `out`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._confirmed: Confirmed | None = None

    def notify(self, confirmed: Confirmed) -> None:
        """Tell `confirmed` what has been written."""
        self._confirmed = confirmed

    async def publish(self, messages: Sequence[tuple[Ticket, Message]]) -> None:
        """Write `messages`, flush, and settle them; raises BrokenPipeError when the reader has gone."""
        self._out.writelines(line(message) + "\n" for _, message in messages)
        self._out.flush()
        if self._confirmed is not None:
            self._confirmed([ticket for ticket, _ in messages])

    async def settled(self) -> None:
        """Return at once: a written line is settled."""

    async def run(self) -> None:
        """Wait to be cancelled: there is no connection to keep."""
        await asyncio.get_running_loop().create_future()


def line(message: Message) -> str:
    """Return `message` as JSON, its body as the JSON that it is."""
    fields = message._asdict() | {"headers": dict(message.headers)}
    fields["message_id"] = fields.pop("id")
    body = fields.pop("body").decode()
    return f'{json.dumps(fields, ensure_ascii=False)[:-1]}, "body": {body}}}'
