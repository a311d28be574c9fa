"""The headers that make a message a CloudEvent in binary mode. Pure.

https://github.com/cloudevents/spec, cloudevents/spec.md. The AMQP protocol binding gives attributes the prefix
`cloudEvents_` or `cloudEvents:`; consumers of AMQP 0-9-1, such as Knative's, read `ce-`. Knative takes all other
headers for attributes too: with `ce-`, names of ours have letters and digits only, and the content type is among them.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

from outboxkit.amqp import format as names
from relay.core.event import OutboxEvent

Prefix = Literal["cloudEvents_", "cloudEvents:", "ce-"]

_ATTRIBUTES = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype"})
# What a string of CloudEvents may not contain: control characters, surrogates, and code points that are no characters.
_PLANES = "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
_FORBIDDEN = re.compile(f"[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\ufdd0-\\ufdef{_PLANES}]")


class CloudEvents:
    """Makes the headers of events from `source`, a URI reference; attributes have the prefix `prefix`.

    `more` are names of headers that the relay adds to those that every message has.
    """

    def __init__(self, source: str, prefix: Prefix, more: frozenset[str] = frozenset()) -> None:
        self._prefix = prefix
        self._more = more
        self._source = source
        self._of_knative = prefix == "ce-"
        self.names = names.ALPHANUMERIC if self._of_knative else names.NAMES
        """The names of the headers that every message has."""

    def headers(self, event: OutboxEvent, own: Mapping[str, object]) -> dict[str, object]:
        """Return the attributes of `event` and its `own` headers, except those that would be taken for attributes."""
        attributes = {
            "specversion": "1.0",
            "id": _text(event.id),
            "source": self._source,
            "type": _text(f"{event.aggregate_type}.{event.event_type}"),
        }
        if event.aggregate_id:
            attributes["subject"] = _text(event.aggregate_id)
        if (time := _time(event.created_at)) is not None:
            attributes["time"] = time
        if self._of_knative:
            attributes["datacontenttype"] = event.content_type
        others = {name: value for name, value in own.items() if not self._is_reserved(name)}
        return {**others, **{self._prefix + name: value for name, value in attributes.items()}}

    def _is_reserved(self, name: str) -> bool:
        if not self._of_knative:
            return name.startswith(self._prefix) and name.removeprefix(self._prefix) in _ATTRIBUTES
        attribute = name.lower().removeprefix(self._prefix)
        return (
            attribute in _ATTRIBUTES
            or attribute in self.names
            or attribute in self._more
            or attribute == "content-type"
        )


def _text(value: str) -> str:
    return _FORBIDDEN.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), value)


def _time(at: datetime) -> str | None:
    """Return `at` as RFC 3339 has it, or None for a time that it has no form for."""
    try:
        return at.astimezone(UTC).isoformat()
    except OverflowError:  # in UTC it lies before year 1, or after 9999
        return None
