"""pika's private names that outboxkit.amqp.pika_internals uses: a version of pika that moves one fails here."""

import inspect
from types import FunctionType
from typing import Any

import pytest
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils import io_services_utils

TRANSPORTS = [getattr(io_services_utils, name) for name in ("_AsyncPlaintextTransport", "_AsyncSSLTransport")]


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (AsyncioConnection, "_adapter_emit_data", ["self", "data"]),
        (AsyncioConnection, "_terminate_stream", ["self", "error"]),
        *((transport, "_on_socket_writable", ["self"]) for transport in TRANSPORTS),
        *((transport, "_sigint_safe_send", ["sock", "data"]) for transport in TRANSPORTS),
    ],
)
def test_a_method_that_we_call_has_its_name_and_parameters(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_a_connection_keeps_its_transport_under_the_name_that_we_read() -> None:
    name = "_proto_connection_made"
    assert "self._transport = transport" in inspect.getsource(getattr(AsyncioConnection, name))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_transport_keeps_its_socket_under_the_name_that_we_read(transport: type) -> None:
    assert "self._sock = sock" in inspect.getsource(transport.__mro__[1])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_transport_sends_only_through_the_method_that_we_guard(transport: type) -> None:
    functions = [
        each for class_ in transport.__mro__ for each in vars(class_).values() if isinstance(each, FunctionType)
    ]
    assert callers(functions, "send", "sendall", "sendmsg") == []
    assert callers(functions, "_sigint_safe_send") == ["_produce"]


def callers(functions: list[FunctionType], *names: str) -> list[str]:
    return [each.__name__ for each in functions if set(names) & set(each.__code__.co_names)]


def test_a_connection_reads_and_counts_under_the_names_that_we_divert() -> None:
    connection: Any = AsyncioConnection  # pika's stubs have no private names
    assert list(inspect.signature(connection._on_data_available).parameters) == ["self", "data_in"]  # noqa: SLF001
    assert "self._on_data_available(data)" in inspect.getsource(connection._proto_data_received)  # noqa: SLF001
    assert "self._frame_buffer += data_in" in inspect.getsource(connection._on_data_available)  # noqa: SLF001
    assert "self.bytes_received += " in inspect.getsource(connection._trim_frame_buffer)  # noqa: SLF001


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_transport_reads_as_much_as_the_attribute_says_that_we_set(transport: type) -> None:
    assert "self._MAX_RECV_BYTES" in inspect.getsource(transport.__mro__[1]._consume)  # type: ignore[attr-defined] # noqa: SLF001
