"""The engine's API through its socket, against a server that answers as the engine does."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from outboxkit.errors import Problem
from sandbox.machine import engine

LISTED = [
    {
        "Id": "abc",
        "Names": ["/shop_relay_1"],
        "NetworkSettings": {"Networks": {"shop_default": {"IPAddress": "172.18.0.7"}}},
    }
]


class Answers(BaseHTTPRequestHandler):
    """Answers for one container, and notes what is asked."""

    asked: list[str]

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        if place.path == "/containers/json":
            self.asked.extend(json.loads(parse_qs(place.query)["filters"][0])["label"])
            self._answer(200, LISTED)
        else:
            self._answer(200, {"Config": {"Labels": {"com.docker.compose.project": "shop"}}})

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self._answer(409, {"message": "it is not running"}) if "gone" in self.path else self._answer(204, None)

    def _answer(self, code: int, body: object) -> None:
        self.send_response(code)
        self.end_headers()
        if body is not None:
            self.wfile.write(json.dumps(body).encode())

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Serve the API, and return what is asked."""
    Answers.asked = []
    monkeypatch.setattr(engine, "_SOCKET", str(tmp_path / "socket"))
    with socketserver.UnixStreamServer(str(tmp_path / "socket"), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Answers.asked
        server.shutdown()
        thread.join()


def test_a_services_containers_are_found_by_composes_labels_with_their_addresses(asked: list[str]) -> None:
    found = engine.running(engine.project(), "relay")
    assert found == [engine.Container("abc", "shop_relay_1", frozenset({"172.18.0.7"}))]
    assert asked == ["com.docker.compose.project=shop", "com.docker.compose.service=relay"]


def test_a_container_is_killed_and_started_by_its_id(asked: list[str]) -> None:
    container = engine.Container("abc", "shop_relay_1", frozenset())
    engine.kill(container)
    engine.start(container)
    assert asked == ["/containers/abc/kill", "/containers/abc/start"]


def test_what_the_engine_refuses_is_told_with_its_words(asked: list[str]) -> None:
    with pytest.raises(Problem, match="it is not running"):
        engine.kill(engine.Container("gone", "", frozenset()))
    assert asked


def test_without_an_engine_the_socket_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "_SOCKET", str(tmp_path / "nothing"))
    with pytest.raises(Problem, match="mount the engine's socket there"):
        engine.project()
