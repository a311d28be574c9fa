"""Tasks submitted over HTTP: each becomes one task, whatever the service answers on the way."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from outboxkit.errors import Problem
from sandbox.demo.submitting import Kind, Submitting, mixed
from sandbox.machine.waiting import until

FEW, MOST = Kind("few", 0.1, {"odds": 0.5}), Kind("most", 1, {})
SECONDS = 30.0


class Service(ThreadingHTTPServer):
    """Makes a task for each new key; `answers` are what it does before that: a status, or None to hang up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.answers: list[int | None] = []
        self.keys: list[str] = []
        self.tasks: dict[str, dict[str, object]] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        with self.server.lock:
            self.server.keys.append(key)
            answer = self.server.answers.pop() if self.server.answers else 201
            if answer in {201, None}:  # who hangs up may have committed before
                self.server.tasks.setdefault(key, body)
        if answer is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        said = json.dumps({"id": f"task of {key}"}).encode()
        self.send_response(answer)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _submit(service: Service, tasks: list[Kind], clients: int = 3) -> Submitting:
    with Submitting(service.url, tasks, clients=clients) as submitting:

        def done() -> bool:
            submitting.check()
            return len(submitting.committed) == len(tasks)

        until(done, what="every task is committed", seconds=SECONDS)
    return submitting


def test_each_kind_has_its_share_and_is_spread_over_all() -> None:
    kinds = mixed([FEW, MOST], 100)
    assert Counter(kind.type for kind in kinds) == {"few": 10, "most": 90}
    for begin in range(0, 100, 10):
        assert kinds[begin : begin + 10].count(FEW) == 1
    assert [kind.type for kind in mixed([FEW, MOST], 1)] == ["few"]


def test_each_task_is_one_request_with_a_key_of_its_own(service: Service) -> None:
    submitting = _submit(service, mixed([FEW, MOST], 50))
    assert Counter(str(task["type"]) for task in service.tasks.values()) == {"few": 5, "most": 45}
    assert len(service.keys) == 50
    assert sorted(submitting.committed) == sorted(f"task of {key}" for key in service.tasks)


def test_the_pace_is_kept_and_told(service: Service) -> None:
    with Submitting(service.url, [MOST] * 21, rate=100) as submitting:
        until(lambda: len(submitting.committed) == 21, what="every task is committed", seconds=SECONDS)
    assert 0 < submitting.per_second <= 21 / 0.2  # the last one is due after 0.2 s


@pytest.mark.parametrize("answer", [503, 502, 504, None], ids=["503", "502", "504", "no answer"])
def test_what_was_not_answered_is_asked_again_with_the_same_key(service: Service, answer: int | None) -> None:
    service.answers = [answer, answer]
    submitting = _submit(service, [MOST], clients=1)
    assert len(service.keys) == 3
    assert len(set(service.keys)) == 1
    assert submitting.committed == [f"task of {service.keys[0]}"]


def test_an_answer_that_no_repetition_changes_ends_it_with_a_problem(service: Service) -> None:
    service.answers = [422]
    with pytest.raises(Problem, match="answered with 422"):
        _submit(service, [MOST], clients=1)
    assert len(service.keys) == 1


def test_leaving_ends_it_before_the_next_one_is_due(service: Service) -> None:
    with Submitting(service.url, [MOST, MOST], rate=0.001) as submitting:
        until(lambda: submitting.committed, what="the first one", seconds=SECONDS)
    assert len(service.keys) == 1


def test_leaving_ends_it_when_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Submitting(address, [MOST]) as submitting:
        pass
    assert submitting.committed == []
