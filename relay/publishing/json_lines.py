"""`relay run --stdout`: writes messages as JSON lines instead of publishing them."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import TextIO

from outboxkit.amqp import format as names
from relay.core.event import Message
from relay.core.ports import Outcomes, Parcel

# JSON allows these in a string, and something takes them for the end of a line, for an order to the terminal, or for no
# text at all: lone surrogates, control characters, and the line separators of Unicode.
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class JsonLinesPublisher:
    """Writes each message as one line of JSON to `out`; a line that is flushed counts as confirmed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._outcomes: Outcomes | None = None

    def notify(self, outcomes: Outcomes) -> None:
        """Report to `outcomes` what was written."""
        self._outcomes = outcomes

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Write `parcels` and flush; raises BrokenPipeError if the reader is gone."""
        self._out.writelines(json_line(parcel.message) + "\n" for parcel in parcels)
        self._out.flush()
        if self._outcomes is not None:
            self._outcomes.confirmed(parcels)

    async def drained(self) -> None:
        """Return at once: nothing is in flight."""

    def in_flight(self) -> int:
        """Return 0: what was written has its outcome."""
        return 0

    def forget(self) -> None:
        """Do nothing: what was written cannot be taken back."""

    async def away(self, seconds: float) -> None:
        """Wait to be cancelled: a pipe does not come back."""
        del seconds
        await asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Wait to be cancelled: there is no connection."""
        await asyncio.get_running_loop().create_future()


def json_line(message: Message) -> str:
    """Return `message` as one line of JSON: a JSON body stays as it is, text is a string, other bytes are hexadecimal.

    What JSON may write in two ways is changed in the body: whitespace between its parts, and odd characters.
    """
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
    line = f'{json.dumps(fields, ensure_ascii=False, default=str)[:-1]}, "body": {body}}}'
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def _body(body: bytes, content_type: str) -> str:
    match content_type:
        case names.JSON:  # a line break in JSON is insignificant whitespace: in a string it is escaped
            return body.decode(errors="replace").replace("\r", " ").replace("\n", " ")
        case names.TEXT:
            return json.dumps(body.decode(errors="replace"), ensure_ascii=False)
        case _:
            return json.dumps(body.hex())
