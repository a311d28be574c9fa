"""RabbitMQ's answer to an attempt, and what the text of a refusal says. Pure."""

import re
from dataclasses import dataclass

ACCEPTED, NO_ANSWER = 200, 0
# https://www.rabbitmq.com/amqp-0-9-1-reference#constants
NOT_RETURNED, ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED = 312, 403, 404, 406

_MISMATCH = re.compile(r"inequivalent arg '(?P<name>[^']+)'.* but current is (?P<current>.*)$", re.DOTALL)
_CURRENT = re.compile(r"(?:the value )?'(?P<value>.*?)'(?: of type '(?P<type>\w+)')?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """ACCEPTED; the code of a refusal; NO_ANSWER in time; NOT_RETURNED: an unroutable message was only confirmed."""

    code: int
    text: str = ""


def differing(text: str) -> tuple[str, str | int | None] | None:
    """Return the property that the text of a 406 names, and its current value (None if it is not set).

    Returns None if the text cannot be parsed: RabbitMQ does not document its form.
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
    if found["type"] == "bool":
        return match["name"], found["value"] == "true"
    number = found["type"] not in {None, "longstr"} and found["value"].lstrip("-").isdecimal()
    return match["name"], int(found["value"]) if number else found["value"]
