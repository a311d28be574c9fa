"""POST /tasks and POST /events: what is written, in one transaction, and what is refused, with nothing written."""

import json
from typing import Any
from uuid import UUID

from tests.integration.writers.service.stage import Answer, Instance, Stage

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENT = {"aggregate_type": "order", "aggregate_id": "42", "aggregate_version": 7, "event_type": "paid"}
PAYLOADS: list[Any] = [None, False, 0, "text", [], {}, {"ä": ["\U0001f600", 1.5, None]}]
# What parsing would change: digits of integers and fractions, a trailing zero, an integer of 400 digits.
DIGITS = f'{{"a": 12345678901234567890.123456789, "b": 0.10, "c": -{"7" * 400}, "d": 9007199254740993}}'


def written(stage: Stage) -> list[int]:
    """Return how many tasks, requests and events there are."""
    [counts] = stage.rows(
        "SELECT (SELECT count(*) FROM tasks.task), (SELECT count(*) FROM tasks.request),"
        " (SELECT count(*) FROM outbox.event)"
    )
    return list(counts)


def invalid(answer: Answer) -> list[str]:
    """Return what is wrong by the answer, or `refused` if the database says so."""
    assert answer.status == 422, answer
    if answer.slug == "refused":
        return ["refused"]
    assert answer.slug == "invalid"
    return [each["where"] for each in answer.json["errors"]]


def test_a_task_and_the_event_that_announces_it_are_written_by_one_transaction(stage: Stage, service: Instance) -> None:
    answer = service.ask("POST", "/tasks", {"type": "greet", "payload": {"name": "Ada"}, "max_attempts": 3})
    assert answer.status == 201
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Location"] == f"/tasks/{answer.json['id']}"
    assert "Idempotency-Replayed" not in answer.headers
    task = stage.rows("SELECT id, type, payload, max_attempts, status, version, xmin::text FROM tasks.task")
    event = stage.rows("SELECT aggregate_id, payload->>'type', headers, tx::xid::text FROM outbox.event")
    transaction = task[0][-1]
    assert task == [(UUID(answer.json["id"]), "greet", {"name": "Ada"}, 3, "pending", 1, transaction)]
    assert event == [(answer.json["id"], "greet", {}, transaction)]


def test_the_answer_is_the_task_as_a_look_at_it_shows_it(service: Instance) -> None:
    answer = service.ask("POST", "/tasks", {"type": "greet"})
    looked = service.get(answer.headers["Location"]).json
    del looked["history"]
    assert answer.json == looked
    left_out = {key: answer.json[key] for key in ("payload", "max_attempts", "attempts", "result", "locked_by")}
    assert left_out == {"payload": {}, "max_attempts": 5, "attempts": 0, "result": None, "locked_by": None}


def test_a_task_that_is_due_later_is_scheduled_and_has_no_event(stage: Stage, service: Instance) -> None:
    task = service.submit(run_at="2099-07-01T12:00:00.5+02:00")
    assert (task["status"], task["run_at"][:10]) == ("scheduled", "2099-07-01")
    assert stage.rows("SELECT run_at = '2099-07-01T10:00:00.5Z' FROM tasks.task") == [(True,)]
    assert written(stage) == [1, 0, 0]


def test_a_task_that_was_due_is_pending(service: Instance) -> None:
    for run_at in ("2000-01-01T00:00:00Z", "0001-01-01T00:00:00-15:59", "2000-06-01t00:00:00-23:59"):
        assert service.submit(run_at=run_at)["status"] == "pending"


def test_a_payload_of_any_json_comes_back_and_is_stored(stage: Stage, service: Instance) -> None:
    assert [service.submit(payload=payload)["payload"] for payload in PAYLOADS] == PAYLOADS
    assert [payload for (payload,) in stage.rows("SELECT payload FROM tasks.task ORDER BY created_at")] == PAYLOADS


def test_numbers_keep_all_their_digits_in_tasks_and_events(stage: Stage, service: Instance) -> None:
    body = f'{{"type": "send", "payload": {DIGITS}}}'
    task = service.ask("POST", "/tasks", body.encode())
    assert DIGITS in task.text
    assert DIGITS in service.get(task.headers["Location"]).text
    assert DIGITS in service.get("/tasks").text
    event = f'{json.dumps(EVENT)[:-1]}, "payload": {DIGITS}, "headers": {DIGITS}}}'
    assert service.ask("POST", "/events", event.encode()).status == 201
    assert stage.rows("SELECT payload::text FROM tasks.task") == [(DIGITS,)]
    assert stage.rows("SELECT payload::text, headers::text FROM outbox.event WHERE aggregate_type = 'order'") == [
        (DIGITS, DIGITS)
    ]


def test_of_a_field_that_is_there_twice_the_last_one_counts(stage: Stage, service: Instance) -> None:
    body = b'{"payload": {"n": 1, "n": 2}, "type": "first", "type": "last", "payload": {"n": 3, "n": 4}}'
    assert service.ask("POST", "/tasks", body).status == 201
    assert stage.rows("SELECT type, payload FROM tasks.task") == [("last", {"n": 4})]


def test_the_trace_of_a_request_travels_with_the_event(stage: Stage, service: Instance) -> None:
    trace = {"traceparent": PARENT, "tracestate": "vendor=1"}
    own = {"traceparent": PARENT.replace("4bf9", "0000"), "more": [1]}
    for key in (None, "a-key"):
        keyed = trace if key is None else {**trace, "Idempotency-Key": key}
        assert service.ask("POST", "/tasks", {"type": "send"}, headers=keyed).status == 201
    assert service.ask("POST", "/events", EVENT, headers=trace).status == 201
    assert service.ask("POST", "/events", {**EVENT, "headers": own}, headers=trace).status == 201
    assert service.ask("POST", "/events", EVENT, headers={"traceparent": "nonsense"}).status == 201
    found = [headers for (headers,) in stage.rows("SELECT headers FROM outbox.event ORDER BY seq")]
    assert found == [trace, trace, trace, {**trace, **own}, {}]


def test_an_event_is_written_as_it_was_sent(stage: Stage, service: Instance) -> None:
    more = {"payload": {"total": 120}, "headers": {"h": 1}, "exchange": "elsewhere", "routing_key": "a.b"}
    answer = service.ask("POST", "/events", {**EVENT, **more})
    assert answer.status == 201
    assert stage.rows(
        "SELECT id::text, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers, exchange,"
        " routing_key FROM outbox.event"
    ) == [(answer.json["id"], *EVENT.values(), *more.values())]


def test_an_event_that_is_sent_again_with_its_id_has_the_same_answer_and_message_id(
    stage: Stage, service: Instance
) -> None:
    event = {**EVENT, "id": "6d8f5e0c-1c5b-4d0e-9a39-0a6d1b2f7c11"}
    answers = [service.ask("POST", "/events", event) for _ in range(2)]
    assert [(answer.status, answer.json) for answer in answers] == [(201, {"id": event["id"]})] * 2
    assert stage.rows("SELECT id::text FROM outbox.event") == [(event["id"],)] * 2


def test_a_request_keeps_its_id_in_answer_and_log_unless_it_is_no_id(service: Instance) -> None:
    given = service.ask("POST", "/tasks", {"type": "send"}, headers={"X-Request-Id": "mine-1"})
    assert given.headers["X-Request-Id"] == "mine-1"
    logged = service.command.logged("request", request="mine-1")
    wanted = {"method": "POST", "path": "/tasks", "status": 201}
    assert {key: logged[key] for key in wanted} == wanted
    made = {service.get("/", headers={"X-Request-Id": bad}).headers["X-Request-Id"] for bad in ("a b", "", "x" * 129)}
    assert len(made) == 3
    assert all(len(each) == 32 for each in made)


BAD_TASKS: list[tuple[object, list[str]]] = [
    ({}, ["body.type"]),
    ([], ["body"]),
    (None, ["body"]),
    ({"type": ""}, ["body.type"]),
    ({"type": 1}, ["body.type"]),
    ({"type": "x" * 256}, ["body.type"]),
    ({"type": "a\0b"}, ["body"]),
    ({"type": "a\ud800"}, ["body"]),
    ({"type": "a", "payload": {"\0": 1}}, ["body"]),
    ({"type": "a", "payload": float("nan")}, ["body"]),
    ({"type": "a", "payload": float("inf")}, ["body"]),
    ({"type": "a", "payload": "x" * 1_048_577}, ["refused"]),
    ({"type": "a", "max_attempts": 0}, ["body.max_attempts"]),
    ({"type": "a", "max_attempts": 2**31}, ["body.max_attempts"]),
    ({"type": "a", "max_attempts": 10**30}, ["body.max_attempts"]),
    ({"type": "a", "max_attempts": True}, ["body.max_attempts"]),
    ({"type": "a", "max_attempts": "3"}, ["body.max_attempts"]),
    ({"type": "a", "max_attempts": 1.5}, ["body.max_attempts"]),
    ({"type": "a", "max_attempts": None}, ["body.max_attempts"]),
    ({"type": "a", "run_at": 1_700_000_000}, ["body.run_at"]),
    ({"type": "a", "run_at": "2030-01-01T00:00:00"}, ["body.run_at"]),
    ({"type": "a", "run_at": "2030-02-30T00:00:00Z"}, ["body.run_at"]),
    ({"type": "a", "run_at": "9999-12-31T23:59:59-01:00"}, ["body.run_at"]),
    ({"type": "a", "headers": []}, ["body.headers"]),
    ({"type": "a", "headers": None}, ["body.headers"]),
    ({"type": "a", "headers": {"h": "x" * 32_768}}, ["refused"]),
    ({"type": "a", "headers": {"x-probe": True}}, ["body.headers"]),
    ({"type": "a", "more": 1}, ["body.more"]),
    ({"type": "a", "\ud800": 1}, ["body"]),
    ({"max_attempts": 0, "run_at": "soon"}, ["body.type", "body.run_at", "body.max_attempts"]),
    ({"type": "demo.grab"}, ["refused"]),
]


def test_a_task_that_is_wrong_is_refused_where_it_is_wrong_and_nothing_is_written(
    stage: Stage, service: Instance
) -> None:
    for body, where in BAD_TASKS:
        sent = json.dumps(body).encode()
        for headers in ({}, {"Idempotency-Key": "a-key"}):
            assert invalid(service.ask("POST", "/tasks", sent, headers=headers)) == where, sent[:80]
    assert written(stage) == [0, 0, 0]


BAD_EVENTS: list[tuple[dict[str, object], list[str]]] = [
    ({"aggregate_type": ""}, ["body.aggregate_type"]),
    ({"aggregate_version": 0}, ["body.aggregate_version"]),
    ({"aggregate_version": 2**63}, ["body.aggregate_version"]),
    ({"event_type": None}, ["body.event_type"]),
    ({"aggregate_type": "ä" * 126}, ["refused"]),
    ({"routing_key": "ä" * 200}, ["refused"]),
    ({"headers": {"deep": json.loads("[" * 40 + "]" * 40)}}, ["refused"]),
    ({"payload": "x" * 1_048_577}, ["refused"]),
    ({"id": "1"}, ["body.id"]),
    ({"headers": {"x-probe": None}}, ["body.headers"]),
]


def test_an_event_that_is_wrong_is_refused_where_it_is_wrong_and_nothing_is_written(
    stage: Stage, service: Instance
) -> None:
    for changed, where in BAD_EVENTS:
        assert invalid(service.ask("POST", "/events", {**EVENT, **changed})) == where, str(changed)[:80]
    assert written(stage) == [0, 0, 0]


def test_a_body_that_is_no_json_for_every_reader_is_refused(stage: Stage, service: Instance) -> None:
    large, utf_16 = b'{"type": "a", "payload": 1e400}', "{}".encode("utf-16")
    for body in (b"{", b"\xff", b'{"type": "a"}}', utf_16, b"[" * 100_000, large):
        for path in ("/tasks", "/events"):
            assert invalid(service.ask("POST", path, body)) == ["body"], body[:80]
    assert written(stage) == [0, 0, 0]


def test_a_body_of_another_type_is_refused(stage: Stage, service: Instance) -> None:
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/json-patch+json"):
        for path in ("/tasks", "/events", "/tasks/6d8f5e0c-1c5b-4d0e-9a39-0a6d1b2f7c11/reschedule"):
            answer = service.ask("POST", path, b'{"type": "a"}', headers={"Content-Type": kind})
            assert (answer.status, answer.slug) == (415, "unsupported-media-type"), (kind, path)
    assert written(stage) == [0, 0, 0]


def test_a_charset_beside_the_type_is_taken(service: Instance) -> None:
    kind = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert service.ask("POST", "/tasks", {"type": "send"}, headers=kind).status == 201
