"""The image's health check against a real server."""

import runpy
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.support.commands import ROOT

PYTHON = "/opt/outbox-relay/bin/python3"
RELAY = [PYTHON, "/opt/outbox-relay/bin/relay", "run", ""]
CONSUMERS = [PYTHON, "/opt/outbox-relay/bin/consumers", "run", ""]
WRITERS = [PYTHON, "/opt/outbox-relay/bin/writers", "serve", ""]


@pytest.fixture(scope="module")
def check() -> Callable[[list[str]], int]:
    """Return what the script does with the words of the container's first command."""
    main: Callable[[list[str]], int] = runpy.run_path(str(ROOT / "docker" / "application" / "healthcheck.py"))["main"]
    return main


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Serve these status codes by path, at the addresses of relay, consumers and writers."""
    codes: dict[str, int] = {}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(codes.get(self.path, 404))
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("RELAY", "CONSUMERS", "WRITERS"):
        monkeypatch.setenv(f"{name}_HTTP_ADDRESS", f"0.0.0.0:{server.server_port}")
    yield codes
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("command", [RELAY, CONSUMERS, WRITERS], ids=["relay", "consumers", "writers"])
def test_it_says_what_readyz_says(
    check: Callable[[list[str]], int], answers: dict[str, int], command: list[str]
) -> None:
    answers["/readyz"] = 200
    assert check(command) == 0
    answers["/readyz"] = 503
    assert check(command) == 1


def test_nobody_there_is_not_healthy(check: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_HTTP_ADDRESS", "127.0.0.1:1")
    assert check(RELAY) == 1


def test_a_command_behind_an_init_process_is_found(check: Callable[[list[str]], int], answers: dict[str, int]) -> None:
    answers["/readyz"] = 503
    assert check(["/sbin/docker-init", "--", "relay", "run", ""]) == 1


@pytest.mark.parametrize("command", [["relay", "setup"], ["writers", "submit"], ["sh"], []])
def test_what_serves_no_http_is_healthy_while_it_runs(
    check: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    for name in ("RELAY", "WRITERS"):
        monkeypatch.setenv(f"{name}_HTTP_ADDRESS", "127.0.0.1:1")
    assert check(command) == 0


def test_a_relay_without_an_address_is_healthy_while_it_runs(
    check: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_HTTP_ADDRESS", "")
    assert check(RELAY) == 0
