"""The HTTP endpoint in the loop of its process: its answers, and that it handles no signals."""

import asyncio
import http.client
import signal
import socket
import time

import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from outboxkit.address import parse_address
from outboxkit.errors import Problem
from outboxkit.http import health_route, metrics_route, serving


def _get(address: str, path: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(*parse_address(address), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["content-type"], answer.read().decode()
    finally:
        connection.close()


def test_metrics_and_health_are_served_until_the_block_ends() -> None:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    checks = {"database": True, "broker": True}

    async def run() -> str:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        routes = [metrics_route(registry), health_route("/readyz", lambda: checks)]
        async with serving(routes, "127.0.0.1:0") as address:
            status, kind, text = await asyncio.to_thread(_get, address, "/metrics")
            assert (status, kind.split(";")[0]) == (200, "text/plain")
            assert "things_total 3.0" in text
            assert await asyncio.to_thread(_get, address, "/readyz") == (
                200,
                "application/json",
                '{"database":true,"broker":true}',
            )
            checks["broker"] = False
            assert (await asyncio.to_thread(_get, address, "/readyz"))[0] == 503
            assert (await asyncio.to_thread(_get, address, "/nothing"))[0] == 404
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
            return address

    with pytest.raises(ConnectionRefusedError):
        _get(asyncio.run(run()), "/metrics")


def test_with_too_many_connections_a_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outboxkit.http._MOST_CONNECTIONS", 2)

    async def run() -> list[int]:
        async with serving([health_route("/readyz", lambda: {"all": True})], "127.0.0.1:0") as address:
            found = [(await asyncio.to_thread(_get, address, "/readyz"))[0]]
            _, other = await asyncio.open_connection(*parse_address(address))
            found.append((await asyncio.to_thread(_get, address, "/readyz"))[0])
            other.close()
            return found

    assert asyncio.run(run()) == [200, 503]


def test_an_answer_does_not_wait_for_the_clients_delayed_ack() -> None:
    """Each of ten answers on one connection would take 40 ms; the sum is told from any stall of the machine."""

    async def ask(address: str) -> list[float]:
        seconds = []
        connection = http.client.HTTPConnection(*parse_address(address), timeout=10)
        for _ in range(10):
            began = time.perf_counter()
            await asyncio.to_thread(connection.request, "GET", "/healthz")
            answer = await asyncio.to_thread(connection.getresponse)
            answer.read()
            seconds.append(time.perf_counter() - began)
        connection.close()
        return seconds

    async def run() -> list[float]:
        async with serving([health_route("/healthz", lambda: {"alive": True})], "127.0.0.1:0") as address:
            return await ask(address)

    assert min(asyncio.run(run())[3:]) < 0.035


def test_a_taken_address_is_a_problem_with_its_remedy() -> None:
    async def run(address: str) -> None:
        async with serving([], address):
            pass

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Problem, match=f"cannot serve HTTP at {address}"):
            asyncio.run(run(address))


def test_a_server_that_ends_before_its_block_is_logged() -> None:
    async def run() -> None:
        before = asyncio.all_tasks()
        async with serving([], "127.0.0.1:0"):
            (server,) = asyncio.all_tasks() - before
            server.cancel()
            await asyncio.wait([server])

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["event"] for line in logs] == ["http server ended"]


@pytest.mark.parametrize("text", ["", "9187", ":9187", "host:", "host:x", "host:-1", "host:65536", "host:1²"])
def test_text_that_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_address(text)
