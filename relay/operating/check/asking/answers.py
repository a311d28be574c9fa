"""What RabbitMQ answers to a try, and what can be read out of a refusal. Pure."""

import re
from dataclasses import dataclass

TAKEN, NO_ANSWER = 200, 0
# https://www.rabbitmq.com/amqp-0-9-1-reference#constants
UNSEEN, REFUSED, NOT_FOUND, DIFFERS = 312, 403, 404, 406

_MISMATCH = re.compile(r"inequivalent arg '(?P<name>[^']+)'.* but current is (?P<current>.*)$", re.DOTALL)
_CURRENT = re.compile(r"(?:the value )?'(?P<value>.*?)'(?: of type '(?P<type>\w+)')?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """TAKEN; the code of a refusal; NO_ANSWER if none came in time; UNSEEN if a message came back to nobody."""

    code: int
    text: str = ""


def differing(text: str) -> tuple[str, str | int | None] | None:
    """Return the property that the text of a 406 names, and its current value, None for none.

    None instead where the text cannot be read: it is no contract of RabbitMQ's.
    """
    match = _MISMATCH.search(text)
    if match is None:
        return None
    current = match["current"].strip()
    if current == "none":
        return match["name"], None
    found = _CURRENT.fullmatch(current)
    if found is None:
        return None
    number = found["type"] not in {None, "longstr"} and found["value"].lstrip("-").isdecimal()
    return match["name"], int(found["value"]) if number else found["value"]
