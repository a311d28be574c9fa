"""A TCP proxy that can swallow what goes one way: the peer lives and listens, and never hears a word.

Two threads for each connection, so that one direction never waits for the other.
"""

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Forwards connections to the server of `url`; `self.url` is the same URL by way of here."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._server = (place.hostname, place.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        credentials = place.netloc.rpartition("@")[0]
        self.url = place._replace(netloc=f"{credentials}@127.0.0.1:{self._listener.getsockname()[1]}").geturl()
        self.swallow_to_server = threading.Event()
        self.swallow_to_client = threading.Event()
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            _end(each)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is shut down
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                self._start(_pump, client, server, self.swallow_to_server)
                self._start(_pump, server, client, self.swallow_to_client)

    def _start(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, name="proxy")  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


def _pump(source: socket.socket, target: socket.socket, swallow: threading.Event) -> None:
    with suppress(OSError):
        while received := source.recv(65536):
            if not swallow.is_set():
                target.sendall(received)
    _end(source)
    _end(target)


def _end(each: socket.socket) -> None:
    """Shut both directions down, which wakes a thread that waits in `recv`; `close` alone would not."""
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
