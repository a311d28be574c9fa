"""`relay run --stdout`: messages as JSON lines instead of AMQP. Nothing is confirmed by anyone but the pipe."""

import asyncio
import json
from collections.abc import Sequence
from typing import TextIO

from outboxkit.amqp import format as names
from relay.core.event import Message
from relay.core.ports import Outcomes, Parcel


class JsonLinesPublisher:
    """Writes each message as one line of JSON to `out`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._outcomes: Outcomes | None = None

    def notify(self, outcomes: Outcomes) -> None:
        """Tell `outcomes` what has been written."""
        self._outcomes = outcomes

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Write `parcels`, flush, and settle them; raises BrokenPipeError when the reader has gone."""
        self._out.writelines(json_line(parcel.message) + "\n" for parcel in parcels)
        self._out.flush()
        if self._outcomes is not None:
            self._outcomes.confirmed(parcels)

    async def settled(self) -> None:
        """Return at once: a written line is settled."""

    def in_flight(self) -> int:
        """Return none: a written line is settled."""
        return 0

    def forget(self) -> None:
        """Do nothing: there is nothing that could be taken back."""

    async def away(self, seconds: float) -> None:
        """Wait to be cancelled: a pipe is there until it breaks."""
        del seconds
        await asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Wait to be cancelled: there is no connection to keep."""
        await asyncio.get_running_loop().create_future()


def json_line(message: Message) -> str:
    """Return `message` as JSON: its body as the JSON that it is, as a string if it is text, else in hexadecimal."""
    route = message.route
    fields = {
        "exchange": route.exchange,
        "routing_key": route.routing_key,
        "type": route.type,
        "timestamp": message.timestamp,
        "headers": message.all_headers(),
        "content_type": route.content_type,
        "message_id": message.id,
    }
    body = _body(message.body, route.content_type)
    return f'{json.dumps(fields, ensure_ascii=False)[:-1]}, "body": {body}}}'


def _body(body: bytes, content_type: str) -> str:
    match content_type:
        case names.JSON:
            return body.decode()
        case names.TEXT:
            return json.dumps(body.decode(), ensure_ascii=False)
        case _:
            return json.dumps(body.hex())
