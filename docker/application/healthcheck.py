"""The image's health check: exit code 0 if the container's command is ready.

It asks /readyz of the relay, the consumers or the task submission service: what the container's first command is. A
command that serves no HTTP is healthy while it runs. Python starts anew for each check, so only what is needed is
imported.
"""

import itertools
import os
import socket
import sys
from pathlib import Path

_SETTINGS = {
    ("relay", "run"): "RELAY_HTTP_ADDRESS",
    ("consumers", "run"): "CONSUMERS_HTTP_ADDRESS",
    ("writers", "serve"): "WRITERS_HTTP_ADDRESS",
}
_SECONDS = 3.0
_READY = b"200"


def main(command: list[str]) -> int:
    """Check the process that was started with the words `command`."""
    for words, setting in _SETTINGS.items():
        if _follow_each_other(words, command) and os.environ.get(setting):
            return _check(os.environ[setting])
    return 0


def _follow_each_other(words: tuple[str, str], command: list[str]) -> bool:
    return words in itertools.pairwise(Path(word).name for word in command)


def _check(address: str) -> int:
    """Ask for /readyz at `address`; a server that listens everywhere listens on loopback too."""
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104 - compared, not bound
    try:
        with socket.create_connection((host, int(port)), _SECONDS) as connection:
            connection.settimeout(_SECONDS)
            connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            answer = b""
            while part := connection.recv(4096):
                answer += part
    except OSError as error:
        sys.stdout.write(f"no answer at {address}: {error}\n")
        return 1
    status, _, body = answer.partition(b"\r\n\r\n")
    sys.stdout.write(body.decode(errors="replace") + "\n")
    return 0 if status.split()[1:2] == [_READY] else 1


if __name__ == "__main__":
    started = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    sys.exit(main(started))
