"""What an operator sees of an instance: one log line for each request, its id, metrics, health; and who may ask."""

import json
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from sandbox.machine.waiting import until
from tests.integration.writers.service.grabs import create, grab, held
from tests.integration.writers.service.stage import Answer, Instance, Stage

TOKEN = "a-token-of-twenty-characters"
QUIET = ("/healthz", "/readyz", "/metrics")


def requests(service: Instance, count: int) -> list[dict[str, Any]]:
    """Return the lines of the access log when there are `count`: each is written after its answer."""

    def found() -> list[dict[str, Any]]:
        lines = [line for line in service.command.log if line["event"] == "request"]
        return lines if len(lines) >= count else []

    lines = until(found, what=f"{count} requests are logged", seconds=10, every=0.01)
    assert len(lines) == count
    return lines


def values(service: Instance, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(service.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def test_a_request_is_one_line_with_what_it_was_and_nothing_of_its_body(service: Instance) -> None:
    answer = service.ask(
        "POST", "/tasks", {"type": "send", "payload": {"secret": "hunter2"}}, headers={"X-Request-Id": "mine-1"}
    )
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert answer.headers["X-Instance"] == service.name
    service.get(f"/tasks/{answer.json['id']}")
    submitted, looked = requests(service, 2)
    assert {name: submitted[name] for name in ("request", "method", "path", "status", "client", "level")} == {
        "request": "mine-1",
        "method": "POST",
        "path": "/tasks",
        "status": 201,
        "client": "127.0.0.1",
        "level": "info",
    }
    assert submitted["ms"] > 0
    assert (looked["method"], looked["path"], looked["status"]) == ("GET", f"/tasks/{answer.json['id']}", 200)
    assert looked["request"] not in {"", "mine-1"}
    assert "hunter2" not in service.command.stderr


def test_nobody_chooses_the_address_that_the_log_has(service: Instance) -> None:
    service.get("/", headers={"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"})
    assert [line["client"] for line in requests(service, 1)] == ["127.0.0.1"]


def test_a_path_with_a_line_break_is_one_line_of_json(service: Instance) -> None:
    service.get("/nowhere%0A%7B%22event%22:%22forged%22%7D")
    (line,) = requests(service, 1)
    assert line["path"] == '/nowhere\n{"event":"forged"}'
    assert "forged" not in {each["event"] for each in service.command.log}


def test_probes_and_metrics_are_not_logged(service: Instance) -> None:
    assert [service.get(path).status for path in QUIET] == [200, 200, 200]
    service.get("/")
    assert [line["path"] for line in requests(service, 1)] == ["/"]


def test_metrics_count_what_was_asked_and_what_was_written(stage: Stage) -> None:
    stage.allow_demo()
    service = stage.serve(demo="true")
    for _ in range(2):
        service.ask("POST", "/tasks", {"type": "send"}, headers={"Idempotency-Key": "k"})
    service.submit()
    event = {"aggregate_type": "order", "aggregate_id": "1", "aggregate_version": 1, "event_type": "paid"}
    assert service.ask("POST", "/events", event).status == 201
    service.get("/tasks/no-id")
    for number in range(3):
        service.get(f"/nowhere/{number}")
    counted = values(service, "writers_http_requests_total")
    assert counted["POST", "/tasks", "201"] == 3
    assert counted["GET", "/tasks/{task_id}", "422"] == 1
    assert counted["GET", "(other)", "404"] == 3, "no label of its own for what is not there"
    assert values(service, "writers_http_request_seconds_count")["POST", "/tasks"] == 3
    assert values(service, "writers_tasks_submitted_total") == {(): 2}
    assert values(service, "writers_requests_replayed_total") == {(): 1}
    assert values(service, "writers_events_published_total") == {(): 1}
    create(service, 1)
    connection = grab(service)
    held(stage, 1)
    assert values(service, "writers_http_in_flight") == {(): 2}, "the grab, and this one"
    connection.close()
    held(stage, 0)


def test_with_a_token_every_task_and_event_needs_it_and_nothing_else_does(stage: Stage, tmp_path: Path) -> None:
    stage.allow_demo()
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n", encoding="ascii")
    service = stage.serve(token_file=str(secret), demo="true")

    def asked(**headers: str) -> list[Answer]:
        return [
            service.ask("POST", "/tasks", {"type": "send"}, headers=headers),
            service.ask("POST", "/events", {}, headers=headers),
            service.ask("GET", "/tasks", headers=headers),
            service.ask("POST", "/create-tasks", headers=headers),
            service.ask("DELETE", "/reset-tasks", headers=headers),
        ]

    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, _latin("Bearer ä")):
        for answer in asked(**wrong):
            assert (answer.status, answer.slug) == (401, "unauthorized"), wrong
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert stage.rows("SELECT FROM tasks.task") == []
    right = asked(Authorization=f"Bearer {TOKEN}")
    assert [answer.status for answer in right] == [201, 422, 200, 201, 200]
    assert [service.get(path).status for path in (*QUIET, "/", "/openapi.json")] == [200] * 5
    assert TOKEN not in service.command.stderr
    assert TOKEN not in json.dumps([answer.text for answer in right])


def _latin(text: str) -> dict[str, str]:
    return {"Authorization": text}


def test_a_body_has_a_limit_whether_its_size_is_declared_or_not(stage: Stage) -> None:
    service = stage.serve(request_bytes="2000")

    def sized(size: int) -> bytes:
        start, end = b'{"type": "send", "payload": "', b'"}'
        return start + b"x" * (size - len(start) - len(end)) + end

    assert service.ask("POST", "/tasks", sized(2000)).status == 201
    declared = service.ask("POST", "/tasks", sized(2001))
    assert (declared.status, declared.slug) == (413, "too-large")
    connection = service.connect()
    body = sized(2001)
    pieces = [body[at : at + 500] for at in range(0, len(body), 500)]
    connection.request("POST", "/tasks", iter(pieces), {"Content-Type": "application/json"}, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["type"]) == (413, "urn:outbox-relay:problem:too-large")
    connection.close()
    assert stage.rows("SELECT count(*) FROM tasks.task") == [(1,)]
