"""Whether RabbitMQ may drop a message of a dead-letter queue when it is put back: a matter of its version. Pure.

From 4.0 on, a quorum queue without a limit of its own drops what was put back more than 20 times. Up to 4.2 each queue
begins with 0; the header x-delivery-count is of the queue before at the first delivery, and of this one afterwards.
From 4.3 on, the dead-letter queue counts on, so a message that died at the delivery limit does not outlive one look
(rabbit_fifo.erl, return_one, of 4.0.5, 4.2.6 and 4.3.0).
"""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

Version: TypeAlias = tuple[int, int]

_LIMITED, _COUNTS_ON = (4, 0), (4, 3)
_LIMIT = 20
_NEAR = 15  # leaves other programs five times between two looks


def version(server_properties: Mapping[str, Any] | None) -> Version | None:
    """Return RabbitMQ's major and minor version as it names it when a client connects; None if that is none."""
    named = (server_properties or {}).get("version", b"")
    text = named.decode(errors="replace") if isinstance(named, bytes) else str(named)
    found = re.match(r"(\d+)[.](\d+)", text)
    return found and (int(found[1]), int(found[2]))


def may_be_dropped(server: Version | None, headers: Mapping[str, object]) -> bool:
    """Say it of a message with these headers; an unknown version is taken for the newest: a copy costs less."""
    count = headers.get("x-delivery-count")
    if not isinstance(count, int) or count < _NEAR or (server is not None and server < _LIMITED):
        return False
    return server is None or server >= _COUNTS_ON or count <= _LIMIT
