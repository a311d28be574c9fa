"""`writers locking-demo --url` against a service that breaks a promise: it is found, and the exit code is 1."""

import json
import math
import sys
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Any

import pytest

from tests.integration.writers.locking.fake import Answer, Fake, served, taken
from tests.support.commands import environment
from writers.locking.client import Failed, Service


def demo(url: str, *options: str, **settings: str) -> CompletedProcess[str]:
    """Run the demo with `--url`, on tasks that take no time."""
    words = ["locking-demo", "--url", url, "--seconds", "0", *options]
    return run(
        [Path(sys.executable).with_name("writers"), *words],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def found(done: CompletedProcess[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def wrong(done: CompletedProcess[str]) -> list[str]:
    """Return what did not hold."""
    observations = found(done)["with_skip_locked"]["observations"]
    return [each["text"] for each in observations if not each["holds"]]


class Double(Fake):
    """Gives the second task to two requests."""

    given = False

    def grab(self) -> Answer:
        if not self.given and self.tasks[1]["status"] == "completed":
            self.given = True
            return taken(self.tasks[1])
        return super().grab()


class Stuck(Fake):
    """Keeps the oldest task locked."""

    def answer(self, method: str, path: str, query: dict[str, str]) -> Answer:
        status, body, headers = super().answer(method, path, query)
        if path == "/tasks" and body["tasks"]:
            body["tasks"][0] = body["tasks"][0] | {"locked_by": {"instance": "fake"}}
        return status, body, headers


class Busy(Fake):
    """Has no session for the first requests."""

    def __init__(self, left: float = 5) -> None:
        super().__init__()
        self.left = left

    def grab(self) -> Answer:
        if self.left:
            self.left -= 1
            problem = {"type": "urn:outbox-relay:problem:overloaded", "detail": "every session is busy"}
            return 503, problem, {"Retry-After": "0"}
        return super().grab()


class Away(Fake):
    """Has lost its database: nobody knows whether the first request took effect."""

    left = 1

    def grab(self) -> Answer:
        if self.left:
            self.left -= 1
            problem = {"type": "urn:outbox-relay:problem:database-unavailable", "detail": "the connection was lost"}
            return 503, problem, {"Retry-After": "0"}
        return super().grab()


class Broken(Fake):
    """Fails in the middle."""

    def grab(self) -> Answer:
        return super().grab() if self.tasks[3]["status"] == "pending" else (502, {}, {})


def test_a_service_that_keeps_its_promises_is_found_good() -> None:
    with served(Fake()) as url:
        done = demo(url, "--json", "--requests", "40", "--tasks", "30")
    assert (done.returncode, done.stderr) == (0, "")
    numbers = found(done)["with_skip_locked"]
    assert {name: numbers[name] for name in ("requests", "successful", "none_left", "failed", "instances")} == {
        "requests": 40,
        "successful": 30,
        "none_left": 10,
        "failed": 0,
        "instances": {"fake": 30},
    }
    assert {each["number"] for each in numbers["grabs"] if each["outcome"] == "task"} == set(range(1, 31))
    assert found(done)["without_skip_locked"] is None


def test_a_task_that_is_given_to_two_requests_is_found() -> None:
    with served(Double()) as url:
        done = demo(url, "--json")
        printed = demo(url)
    assert done.returncode == 1
    assert wrong(done)[0] == "tasks were grabbed twice: task-2"
    assert found(done)["good"] is False
    assert printed.returncode == 0, "the second one was given its tasks once"


def test_a_task_that_stays_locked_is_found() -> None:
    with served(Stuck()) as url:
        done = demo(url, "--json")
    assert (done.returncode, wrong(done)) == (1, ["tasks stayed locked: task-30 (pending)"])


def test_an_instance_that_is_busy_is_asked_again_when_it_says() -> None:
    with served(Busy()) as url:
        done = demo(url, "--json")
    assert (done.returncode, found(done)["with_skip_locked"]["successful"]) == (0, 15)


def test_an_instance_that_stays_busy_is_asked_again_for_as_long_as_the_plan_may_take() -> None:
    with served(Busy(math.inf)) as url:
        given_up = Service(url).grab(0, skip_locked=False, answered_within=1)
    assert isinstance(given_up, Failed)
    assert given_up.reason == "503: every session is busy"
    assert 1 < given_up.seconds < 30


def test_a_request_whose_effect_is_unknown_is_not_repeated() -> None:
    with served(Away()) as url:
        done = demo(url, "--json")
    assert (done.returncode, wrong(done)) == (1, ["1 request has failed: 503: the connection was lost (1)"])


def test_requests_that_fail_are_counted_and_printed_with_their_reason() -> None:
    with served(Broken()) as url:
        done = demo(url)
    assert done.returncode == 1
    assert done.stdout.count("failed: 502 Bad Gateway after") == 11
    assert "✗ 11 requests have failed: 502 Bad Gateway (11)" in done.stdout


@pytest.mark.parametrize("expected", [1, 2])
def test_as_many_instances_as_are_expected_have_to_answer(expected: int) -> None:
    with served(Fake()) as url:
        done = demo(url, "--json", "--workers", str(expected))
    assert (done.returncode, wrong(done)) == ((0, []) if expected == 1 else (1, ["1 of 2 instances answered"]))


def test_the_token_is_sent_and_its_absence_explained() -> None:
    fake = Fake()
    fake.token = "0123456789abcdef"
    with served(fake) as url:
        assert demo(url, WRITERS_TOKEN=fake.token).returncode == 0
        refused = demo(url)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"writers: {url} answers DELETE /reset-tasks with 401: send the service's token - "
        "set WRITERS_TOKEN or WRITERS_TOKEN_FILE to its token\n"
    )


class Plain(Fake):
    """Does not serve the demo."""

    def answer(self, *_: object) -> Answer:
        return 404, {"detail": "there is nothing here"}, {}


class Stranger(Fake):
    """Is another service."""

    def answer(self, *_: object) -> Answer:
        return 200, {"hello": "world"}, {}


class Held(Fake):
    """Has tasks that somebody else works on."""

    def answer(self, *_: object) -> Answer:
        return 200, {"removed": 0, "held": 2}, {}


@pytest.mark.parametrize(
    ("fake", "words"),
    [
        (Plain(), "404: there is nothing here - start its instances with WRITERS_DEMO=true"),
        (Stranger(), "does not answer as `writers serve` does"),
        (Held(), "2 tasks of the demo are grabbed at this moment by somebody else"),
    ],
    ids=["no demo", "another service", "in use"],
)
def test_what_cannot_be_measured_is_explained_in_one_line(fake: Fake, words: str) -> None:
    with served(fake) as url:
        done = demo(url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert words in done.stderr


def test_an_address_where_nothing_listens_is_explained() -> None:
    with served(Fake()) as url:
        pass
    done = demo(url)
    assert done.returncode == 1
    assert f"writers: {url} gives no answer: " in done.stderr
    assert done.stderr.endswith("check that the service runs, and that --url names it\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--url", "nowhere"], "--url 'nowhere' is no address of a service - write http://host:port"),
        ([], "WRITERS_DATABASE_URL is not set"),
        (["--requests", "0"], "Invalid value for '--requests'"),
        (["--seconds", "61"], "Invalid value for '--seconds'"),
        (["--workers", "21"], "Invalid value for '--workers'"),
        (["--tasks", "10001"], "Invalid value for '--tasks'"),
    ],
)
def test_an_option_that_is_wrong_ends_it_with_2(options: list[str], words: str) -> None:
    done = run(
        [Path(sys.executable).with_name("writers"), "locking-demo", *options],
        env=environment({"TERM": "dumb"}), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert words in done.stderr
