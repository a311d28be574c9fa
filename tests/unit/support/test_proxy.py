"""The proxy itself: it breaks only what the test asks for."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.proxy import Proxy

MESSAGE = bytes(range(256)) * 20


@pytest.fixture(name="url")
def _echo() -> Iterator[str]:
    """Start an echo server; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve, args=(listener,))
        server.start()
        yield f"echo://user:secret@127.0.0.1:{listener.getsockname()[1]}/place"
        listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        server.join()


def _serve(listener: socket.socket) -> None:
    sessions = []
    with suppress(OSError):
        while True:
            session, _ = listener.accept()
            sessions.append(threading.Thread(target=_echoes, args=(session,)))
            sessions[-1].start()
    for each in sessions:
        each.join()


def _echoes(session: socket.socket) -> None:
    with session, suppress(OSError):
        while received := session.recv(4096):
            session.sendall(received)


def connect(proxy: Proxy) -> socket.socket:
    port = int(proxy.url.rpartition(":")[2].removesuffix("/place"))
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def receive(client: socket.socket, count: int = len(MESSAGE)) -> bytes:
    received = b""
    while len(received) < count and (more := client.recv(count - len(received))):
        received += more
    return received


def echoed(client: socket.socket) -> bool:
    client.sendall(MESSAGE)
    return receive(client) == MESSAGE


def connect_and_send(proxy: Proxy) -> None:
    with connect(proxy) as client, suppress(ConnectionResetError):
        client.sendall(b"x")
        assert client.recv(1) == b""


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.2)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    return False


def test_it_forwards_both_ways_and_leaves_credentials_and_path_in_its_url(url: str) -> None:
    with Proxy(url) as proxy, connect(proxy) as client:
        assert proxy.url.startswith("echo://user:secret@127.0.0.1:")
        assert proxy.url.endswith("/place")
        assert echoed(client)


def test_it_forwards_what_was_sent_before_an_end_and_then_the_end(url: str) -> None:
    with Proxy(url) as proxy, connect(proxy) as client:
        assert echoed(client)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_watching_sees_each_direction_of_each_connection_in_order(url: str) -> None:
    seen: dict[tuple[int, bool], bytes] = {}

    def watch(connection: int, to_server: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's order
        seen[connection, to_server] = seen.get((connection, to_server), b"") + data

    with Proxy(url, watch) as proxy, connect(proxy) as first, connect(proxy) as second:
        assert echoed(first)
        second.sendall(b"x")
        assert receive(second, 1) == b"x"
    assert sorted(seen.values()) == [MESSAGE, MESSAGE, b"x", b"x"]
    assert sorted(seen) == [(0, False), (0, True), (1, False), (1, True)]


def test_what_watching_raises_is_raised_at_the_end(url: str) -> None:
    def watch(*_: object) -> None:
        raise ValueError("cannot be read")

    with pytest.raises(ValueError, match="cannot be read"), Proxy(url, watch) as proxy:
        connect_and_send(proxy)


def test_small_pieces_make_up_the_whole(url: str) -> None:
    pieces: list[bytes] = []
    with Proxy(url, lambda _, to_server, data: pieces.append(data) if to_server else None) as proxy:
        proxy.slice(random.Random(1))  # noqa: S311 - for repeatable faults
        with connect(proxy) as client:
            assert echoed(client)
    assert b"".join(pieces) == MESSAGE
    assert 0 < max(len(piece) for piece in pieces) <= 200
    assert len({len(piece) for piece in pieces}) > 5


def test_a_slow_link_is_slow_until_its_limit_is_removed(url: str) -> None:
    with Proxy(url) as proxy, connect(proxy) as client:
        proxy.slow(4 * len(MESSAGE))
        started = time.monotonic()
        assert echoed(client)
        assert 0.2 < time.monotonic() - started < 2
        proxy.slow(None)
        started = time.monotonic()
        for _ in range(20):
            assert echoed(client)
        assert time.monotonic() - started < 4


def test_a_cut_resets_what_is_open_and_nothing_that_comes_later(url: str) -> None:
    with Proxy(url) as proxy, connect(proxy) as client:
        assert echoed(client)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with connect(proxy) as second:
            assert echoed(second)


def test_refused_connections_end_at_once_and_those_that_are_open_go_on(url: str) -> None:
    with Proxy(url) as proxy, connect(proxy) as client:
        assert echoed(client)
        proxy.refuse.set()
        with pytest.raises(ConnectionResetError), connect(proxy) as second:
            second.recv(1)
        assert echoed(client)
        proxy.refuse.clear()
        with connect(proxy) as third:
            assert echoed(third)


def test_a_server_that_is_away_is_a_reset_and_comes_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Proxy(f"echo://127.0.0.1:{port}/place") as proxy:
        with pytest.raises(ConnectionResetError), connect(proxy) as client:
            client.recv(1)
        with socket.create_server(("127.0.0.1", port)) as listener, connect(proxy):
            listener.accept()[0].close()


@pytest.mark.parametrize("to_server", [True, False])
def test_a_direction_that_swallowed_stays_dead_until_its_connection_is_cut(url: str, to_server: bool) -> None:  # noqa: FBT001 - a parameter
    seen: list[bytes] = []

    def watch(_: int, there: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's order
        if there == to_server:
            seen.append(data)

    with Proxy(url, watch) as proxy, connect(proxy) as client:
        assert echoed(client)
        seen.clear()
        swallow = proxy.swallow_to_server if to_server else proxy.swallow_to_client
        swallow.set()
        client.sendall(MESSAGE)
        assert is_silent(client)
        swallow.clear()
        client.sendall(MESSAGE)
        assert is_silent(client)
        assert not seen
        proxy.cut()
        with connect(proxy) as second:
            assert echoed(second)


def test_the_end_of_a_client_does_not_reach_the_server_through_a_dead_direction() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, Proxy(f"echo://127.0.0.1:{listener.getsockname()[1]}/place") as proxy:
        client = connect(proxy)
        session, _ = listener.accept()
        with session:
            client.sendall(b"x")
            assert session.recv(1) == b"x"
            proxy.swallow_to_server.set()
            client.close()
            assert is_silent(session)
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                session.recv(1)


def test_lost_packets_are_not_acknowledged_and_the_other_direction_goes_on() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, Proxy(f"echo://127.0.0.1:{listener.getsockname()[1]}/place") as proxy:
        client = connect(proxy)
        session, _ = listener.accept()
        with client, session:
            client.sendall(b"x")
            assert session.recv(1) == b"x"
            proxy.lose()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
            client.sendall(b"y")
            session.sendall(b"z")
            assert client.recv(1) == b"z"
            with pytest.raises(TimeoutError, match="Connection timed out"):
                client.recv(1)
            assert is_silent(session)


def test_what_is_held_arrives_when_it_is_released_and_later_connections_are_not_held(url: str) -> None:
    with Proxy(url) as proxy, connect(proxy) as client:
        assert echoed(client)
        proxy.hold()
        client.sendall(MESSAGE)
        assert is_silent(client)
        with connect(proxy) as later:
            assert echoed(later)
        proxy.release()
        client.settimeout(10)
        assert receive(client) == MESSAGE
