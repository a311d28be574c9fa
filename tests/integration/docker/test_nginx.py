"""docker/nginx/ on this machine's nginx: each request to the next instance, and instances that come and go are noticed.

What Docker's DNS would answer stands in a file; the instances are servers at other addresses of loopback.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sandbox.machine import packages, ports
from sandbox.machine.accounts import account
from sandbox.machine.waiting import until
from sandbox.servers.postgres import USER
from tests.support.commands import ROOT

FOLDER = ROOT / "docker" / "nginx"
SECONDS = 30.0
FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
GETENT = """\
#!/bin/sh
echo >>{place}/looks
while read -r address; do printf '%s STREAM writers\\n%s DGRAM\\n' "$address" "$address"; done <{place}/names
"""


class Instance(BaseHTTPRequestHandler):
    """Answers with its address, and with what it was sent."""

    protocol_version = "HTTP/1.1"
    held = threading.Event()
    """While it is not set, requests of /slow are not answered."""
    arrived = threading.Semaphore(0)
    """Is released once for each request of /slow and /left."""
    left = threading.Semaphore(0)
    """Is released when the client of /left has gone."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.arrived.release()
            assert self.held.wait(SECONDS)
        if self.path == "/left":
            self.arrived.release()
            self.connection.settimeout(SECONDS)
            assert self.connection.recv(1) == b""
            self.left.release()
            self.close_connection = True
            return
        self._answer(503 if self.path == "/busy" else 200)

    def do_POST(self) -> None:
        if self.path == "/broken":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int) -> None:
        body = json.dumps({"instance": self.connection.getsockname()[0]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def instance(address: str, port: int) -> Iterator[None]:
    server = ThreadingHTTPServer((address, port), Instance)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Balancer:
    """What the container would have: nginx at a port, and a name with addresses."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.port, self.behind = ports.free(2, taken=frozenset())
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("run", "nginx.conf", "check"):
            text = (FOLDER / name).read_text(encoding="utf-8")
            for of_the_container, here in {
                "/tmp/": f"{place}/",  # noqa: S108 - it is the container's own
                "listen 8080;": f"listen 127.0.0.1:{self.port};",
                "127.0.0.1/8080": f"127.0.0.1/{self.port}",
                "$address:8080": f"$address:{self.behind}",
            }.items():
                text = text.replace(of_the_container, here)
            (place / name).write_text(text, encoding="utf-8")
        (place / "getent").write_text(GETENT.format(place=place), encoding="utf-8")
        (place / "getent").chmod(0o755)
        self.log = place / "log"

    def names(self, *addresses: str) -> None:
        """Have the name `writers` mean these addresses."""
        complete = self._place / "names.complete"
        complete.write_text("".join(f"{address}\n" for address in addresses), encoding="ascii")
        complete.replace(self._place / "names")

    def looks(self) -> int:
        """Return how often the name was looked up."""
        return len((self._place / "looks").read_bytes())

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", self._place / "run"],
                env={"PATH": f"{self._place}:{packages.nginx().parent}:{os.environ['PATH']}"},
                stdout=log,
                stderr=log,
                cwd=self._place,
                start_new_session=True,
                **account(USER).credentials,
            )
        until(self.listens, what="nginx listens", seconds=SECONDS)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[HTTPResponse, dict[str, object]]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request(method, path, body)
        answer = connection.getresponse()
        found = dict(json.loads(answer.read()))
        connection.close()
        return answer, found

    def round(self, requests: int) -> Counter[object]:
        """Return how many of `requests` requests each instance answered."""
        return Counter(self.ask("GET", "/")[1]["instance"] for _ in range(requests))

    def checked(self) -> int:
        """Return the exit code of the container's health check."""
        return subprocess.run(["/bin/bash", self._place / "check"], check=False, capture_output=True).returncode

    def end(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(SECONDS)

    def listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    # Not pytest's tmp_path: nginx runs as a user without rights, as in the container, and needs access to it.
    place = Path(tempfile.mkdtemp(prefix="balancer-"))
    found = Balancer(place)
    for path in (place, *place.iterdir()):
        account(USER).own(path)
    Instance.held.set()
    try:
        yield found
    finally:
        Instance.held.set()
        found.end()
        shutil.rmtree(place)


@contextmanager
def running(balancer: Balancer, addresses: Sequence[str]) -> Iterator[None]:
    """Start instances at `addresses`, and nginx before them."""
    with ExitStack() as stack:
        for address in addresses:
            stack.enter_context(instance(address, balancer.behind))
        balancer.names(*addresses)
        balancer.start()
        yield


def test_requests_go_round(balancer: Balancer) -> None:
    with running(balancer, [FIRST, SECOND, THIRD]):
        assert balancer.round(30) == {FIRST: 10, SECOND: 10, THIRD: 10}


def test_an_instance_that_is_added_gets_its_share_and_one_that_is_removed_gets_no_more(balancer: Balancer) -> None:
    with running(balancer, [FIRST, SECOND]), instance(THIRD, balancer.behind):
        assert THIRD not in balancer.round(10)
        balancer.names(FIRST, SECOND, THIRD)
        until(lambda: THIRD in balancer.round(6), what="nginx has found it", seconds=SECONDS)
        until(lambda: balancer.round(30) == {FIRST: 10, SECOND: 10, THIRD: 10}, what="they go round", seconds=SECONDS)
        balancer.names(THIRD)
        until(lambda: set(balancer.round(6)) == {THIRD}, what="the others are forgotten", seconds=SECONDS)


def test_a_change_of_the_addresses_breaks_no_request_off(balancer: Balancer) -> None:
    with running(balancer, [FIRST]), instance(SECOND, balancer.behind):
        Instance.held.clear()
        answered: list[object] = []
        client = threading.Thread(target=lambda: answered.append(balancer.ask("GET", "/slow")[1]["instance"]))
        client.start()
        assert Instance.arrived.acquire(timeout=SECONDS)
        balancer.names(SECOND)
        until(lambda: set(balancer.round(4)) == {SECOND}, what="nginx has the other address", seconds=SECONDS)
        assert answered == []
        Instance.held.set()
        client.join(SECONDS)
        assert answered == [FIRST]


def test_an_instance_that_is_gone_costs_no_request_before_the_dns_knows(balancer: Balancer) -> None:
    with running(balancer, [FIRST]):
        balancer.names(FIRST, SECOND)  # nothing listens there
        until(
            lambda: balancer.round(2) == {FIRST: 2} and f"{SECOND}:" in balancer.log.read_text(),
            what="nginx has tried it",
            seconds=SECONDS,
        )
        assert balancer.round(20) == {FIRST: 20}
        assert balancer.ask("POST", "/tasks", b"{}")[0].status == 201


def test_what_an_instance_has_taken_is_not_sent_to_another_one_and_the_answer_says_what_to_do(
    balancer: Balancer,
) -> None:
    with running(balancer, [FIRST, SECOND]):
        answer, problem = balancer.ask("POST", "/broken", b"{}")
        assert answer.status == problem["status"] == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert str(problem["type"]).endswith(":no-instance")
        assert answer.headers["Retry-After"] is None, "who repeats it without a key may write a task twice"
        assert "Idempotency-Key" in str(problem["detail"])


def test_a_request_that_writes_nothing_is_to_be_repeated(balancer: Balancer) -> None:
    with running(balancer, [FIRST]):
        pass
    answer, problem = balancer.ask("GET", "/tasks")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert problem["detail"] == "no instance has answered; repeat the request"


def test_an_instance_learns_that_the_client_has_left(balancer: Balancer) -> None:
    """So a grab is rolled back while it works."""
    with running(balancer, [FIRST]):
        with socket.create_connection(("127.0.0.1", balancer.port)) as client:
            client.sendall(b"GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert Instance.arrived.acquire(timeout=SECONDS)
            assert not Instance.left.acquire(blocking=False)
        assert Instance.left.acquire(timeout=SECONDS)


def test_an_answer_of_503_is_the_instances_own(balancer: Balancer) -> None:
    with running(balancer, [FIRST, SECOND]):
        answer, said = balancer.ask("GET", "/busy")
        assert answer.status == 503
        assert said["instance"] in {FIRST, SECOND}


def test_an_empty_answer_of_the_dns_changes_nothing(balancer: Balancer) -> None:
    with running(balancer, [FIRST]), instance(SECOND, balancer.behind):
        balancer.names()
        before = balancer.looks()
        until(lambda: balancer.looks() > before + 1, what="it was told that there is none", seconds=SECONDS)
        assert balancer.round(4) == {FIRST: 4}
        balancer.names(FIRST, SECOND)
        until(lambda: SECOND in balancer.round(4), what="it looks on", seconds=SECONDS)


def test_it_is_healthy_while_an_instance_answers(balancer: Balancer) -> None:
    assert balancer.checked() != 0
    with running(balancer, [FIRST]):
        assert balancer.checked() == 0
    assert balancer.checked() != 0


def test_sigquit_lets_requests_in_flight_end(balancer: Balancer) -> None:
    with running(balancer, [FIRST]):
        Instance.held.clear()
        answered: list[object] = []
        client = threading.Thread(target=lambda: answered.append(balancer.ask("GET", "/slow")[1]["instance"]))
        client.start()
        assert Instance.arrived.acquire(timeout=SECONDS)
        assert balancer.process is not None
        balancer.process.send_signal(signal.SIGQUIT)
        until(lambda: not balancer.listens(), what="nginx takes no more", seconds=SECONDS)
        Instance.held.set()
        client.join(SECONDS)
        assert answered == [FIRST]
        assert balancer.process.wait(SECONDS) == 0
