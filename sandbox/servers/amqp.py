"""The first two frames of AMQP 0-9-1: they show that a broker accepts connections, and its version."""

import re
import socket

_HEADER = b"AMQP\x00\x00\x09\x01"
_SECONDS = 5.0
# connection.start contains the server's properties; a long string in that table is 'S', its length, its octets
# (https://www.rabbitmq.com/amqp-0-9-1-reference#connection.start).
_VERSION = re.compile(rb"\x07versionS\x00\x00\x00.([0-9][0-9A-Za-z.+~-]*)", re.DOTALL)
_END = b"\xce"


def version(host: str, port: int) -> str | None:
    """Return the version of the broker at `host`:`port`, "" if it sends none; None if no broker answers."""
    try:
        with socket.create_connection((host, port), timeout=_SECONDS) as connection:
            connection.sendall(_HEADER)
            greeting = b""
            while not greeting.endswith(_END):
                part = connection.recv(4096)
                if not part:
                    return None
                greeting += part
    except OSError:
        return None
    found = _VERSION.search(greeting)
    return found[1].decode("ascii") if found else ""
