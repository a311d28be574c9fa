"""Free ports on loopback, below the range from which the kernel takes the ports of outgoing connections.

A server that is stopped and started again needs its port again. A connection may have taken a port of that range in
the meantime (https://docs.kernel.org/networking/ip-sysctl.html, ip_local_port_range).
"""

import random
import socket
from itertools import islice
from pathlib import Path

from outboxkit.errors import Problem

_LOWEST = 15_000
_TRIES = 1_000


def free(count: int, *, taken: frozenset[int] = frozenset()) -> list[int]:
    """Return `count` ports on which nothing listens on 127.0.0.1, none of them in `taken`."""
    start = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    ports = range(_LOWEST, start) if start > _LOWEST + _TRIES else range(_LOWEST, 32_768)
    candidates = random.SystemRandom().sample(ports, min(_TRIES, len(ports)))
    found = list(islice((port for port in candidates if port not in taken and _is_free(port)), count))
    if len(found) < count:
        raise Problem(
            "not enough free ports on 127.0.0.1",
            remedy=f"stop servers that listen between {ports.start} and {ports.stop}",
        )
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
