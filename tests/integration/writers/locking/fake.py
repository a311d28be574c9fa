"""A service that answers as `writers serve` does, and breaks the demo's promises where a test wants it to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, Any], dict[str, str]]


class Fake:
    """One instance with tasks in memory; a test overrides what it wants broken."""

    token = ""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, query: dict[str, str]) -> Answer:
        """Answer one request with a status, a body and headers."""
        match method, path:
            case "DELETE", "/reset-tasks":
                self.tasks.clear()
                return 200, {"removed": 0, "held": 0}, {}
            case "POST", "/create-tasks":
                self.tasks = [_task(number) for number in range(1, int(query["count"]) + 1)]
                return 201, {"created": len(self.tasks)}, {}
            case "POST", "/grab-task":
                return self.grab()
            case "GET", "/tasks":
                shown = [task for task in self.tasks if query.get("status", task["status"]) == task["status"]]
                return 200, {"tasks": shown[::-1], "next": None}, {}
            case _:
                return 404, {"detail": f"there is nothing at {path}"}, {}

    def grab(self) -> Answer:
        """Answer with the oldest pending task."""
        task = next((task for task in self.tasks if task["status"] == "pending"), None)
        if task is None:
            return 404, {"detail": "no task is left"}, {}
        task |= {"status": "completed", "attempts": 1, "result": {"grabbed_by": "fake"}}
        return taken(task)


def taken(task: dict[str, Any]) -> Answer:
    """Return the answer that `task` was grabbed."""
    return 200, {"id": task["id"], "number": task["number"], "instance": "fake"}, {}


def _task(number: int) -> dict[str, Any]:
    return {
        "id": f"task-{number}",
        "number": number,
        "status": "pending",
        "attempts": 0,
        "created_at": f"2026-01-01T12:00:00.{number:06}Z",
        "result": None,
        "locked_by": None,
    }


@contextmanager
def served(fake: Fake) -> Iterator[str]:
    """Serve `fake` for the block, and yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(place.query).items()}
            with fake.lock:
                status, body, headers = fake.answer(self.command, place.path, query)
            if fake.token and self.headers["Authorization"] != f"Bearer {fake.token}":
                status, body, headers = 401, {"detail": "send the service's token"}, {}
            self.send_response(status)
            for name, value in ({"X-Instance": "fake"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_POST = do_DELETE = do_GET  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
