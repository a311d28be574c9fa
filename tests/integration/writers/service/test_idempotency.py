"""Idempotency-Key: who repeats a request gets the task that the first one made."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from tests.integration.writers.service.stage import Answer, Instance, Stage

BODY: dict[str, Any] = {"type": "send", "payload": {"n": 1}, "headers": {"h": 1}, "run_at": "2099-01-01T00:00:00Z"}
# The same task: in another order, with a key twice, in another zone, and with a default written out.
SAME = [
    '{"run_at":"2099-01-01T00:00:00Z","headers":{"h":1},"payload":{"n":1},"type":"send"}',
    '{"type": "send", "payload": {"n": 0, "n": 1}, "headers": {"h": 1}, "run_at": "2099-01-01T00:00:00Z"}',
    '{"type": "send", "payload": {"n": 1}, "headers": {"h": 1}, "run_at": "2099-01-01T01:00:00+01:00"}',
    '{"type":"send","payload":{"n":1},"headers":{"h":1},"run_at":"2099-01-01T00:00:00Z","max_attempts":5}',
]
OTHER: list[dict[str, Any]] = [
    {"type": "other"},
    {"payload": {"n": 2}},
    {"payload": {"n": "1"}},
    {"payload": None},
    {"max_attempts": 6},
    {"headers": {"h": 2}},
    {"run_at": None},
    {"run_at": "2099-01-01T00:00:00.000001Z"},
]


def submit(service: Instance, key: str, body: object) -> Answer:
    return service.ask("POST", "/tasks", body, headers={"Idempotency-Key": key})


def test_the_same_request_returns_the_same_task_and_says_that_it_was_there(stage: Stage, service: Instance) -> None:
    first = submit(service, "a-key", BODY)
    again = submit(service, "a-key", BODY)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert stage.rows("SELECT count(*) FROM tasks.task") == [(1,)]
    metrics = service.get("/metrics").text
    assert "writers_tasks_submitted_total 1.0" in metrics
    assert "writers_requests_replayed_total 1.0" in metrics


def test_a_repeated_request_shows_the_task_as_it_is_now(service: Instance) -> None:
    task = submit(service, "a-key", BODY).json
    service.ask("POST", f"/tasks/{task['id']}/cancel")
    again = submit(service, "a-key", BODY)
    assert (again.json["status"], again.headers["ETag"]) == ("cancelled", '"2"')


def test_the_same_task_in_other_words_is_the_same_request(service: Instance) -> None:
    first = submit(service, "a-key", BODY).json
    for same in SAME:
        assert submit(service, "a-key", same.encode()).json["id"] == first["id"], same


def test_a_request_s_own_trace_makes_it_no_other_request(stage: Stage, service: Instance) -> None:
    ids = set()
    for last in "12":
        headers = {"Idempotency-Key": "a-key", "traceparent": f"00-{'1' * 32}-{last * 16}-01"}
        ids.add(service.ask("POST", "/tasks", {"type": "send"}, headers=headers).json["id"])
    assert len(ids) == 1
    assert stage.rows("SELECT headers->>'traceparent' FROM outbox.event") == [(f"00-{'1' * 32}-{'1' * 16}-01",)]


def test_the_same_key_with_another_body_is_refused_and_writes_nothing(stage: Stage, service: Instance) -> None:
    first = submit(service, "a-key", BODY).json
    for changed in OTHER:
        refused = submit(service, "a-key", BODY | changed)
        assert (refused.status, refused.slug) == (422, "key-reused"), changed
    assert [str(task_id) for (task_id,) in stage.rows("SELECT id FROM tasks.task")] == [first["id"]]


def test_a_refused_request_keeps_no_key(service: Instance) -> None:
    assert submit(service, "a-key", {"type": "send", "payload": "x" * 1_048_577}).slug == "refused"
    assert "Idempotency-Replayed" not in submit(service, "a-key", BODY).headers


def test_a_key_that_is_none_is_refused(service: Instance) -> None:
    for key in ("", "x" * 256):
        answer = submit(service, key, BODY)
        assert (answer.status, answer.json["errors"][0]["where"]) == (422, "header.idempotency-key")


def test_a_task_that_was_removed_is_not_made_again_by_its_key(stage: Stage, service: Instance) -> None:
    task = submit(service, "a-key", BODY).json
    assert service.ask("POST", f"/tasks/{task['id']}/cancel").status == 200
    stage.rows("DELETE FROM tasks.task WHERE id = %s RETURNING id", task["id"])
    refused = submit(service, "a-key", BODY)
    assert (refused.status, refused.slug) == (409, "state-conflict")
    assert task["id"] in refused.json["detail"]


def raced(stage: Stage, threads: int, rounds: int, body: Callable[[int, int], dict[str, Any]]) -> list[list[Answer]]:
    """In each round, send one key from all threads at once, to two instances; return the answers of each round.

    `body` is of a thread and a round.
    """
    instances = [stage.serve(), stage.serve()]
    start = Barrier(threads)

    def send(n: int) -> list[Answer]:
        answers = []
        for round_ in range(rounds):
            start.wait(30)
            answers.append(submit(instances[n % 2], f"key-{round_}", body(n, round_)))
        return answers

    with ThreadPoolExecutor(threads) as pool:
        return [list(answers) for answers in zip(*pool.map(send, range(threads)), strict=True)]


def test_a_key_that_many_send_at_once_to_two_instances_makes_one_task(stage: Stage) -> None:
    threads, rounds = 12, 10
    for answers in raced(stage, threads, rounds, lambda _, round_: {"type": "send", "payload": round_}):
        assert {answer.status for answer in answers} == {201}
        assert len({answer.json["id"] for answer in answers}) == 1
        assert Counter("Idempotency-Replayed" in answer.headers for answer in answers) == {True: threads - 1, False: 1}
    assert stage.rows("SELECT payload, count(*) FROM tasks.task GROUP BY payload ORDER BY payload") == [
        (n, 1) for n in range(rounds)
    ]
    assert stage.rows("SELECT count(*), count(DISTINCT aggregate_id) FROM outbox.event") == [(rounds, rounds)]


def test_of_different_bodies_with_one_key_at_once_one_wins_and_the_others_are_refused(stage: Stage) -> None:
    threads, rounds = 8, 5
    for answers in raced(stage, threads, rounds, lambda n, _: {"type": "send", "payload": n}):
        assert Counter(answer.status for answer in answers) == {201: 1, 422: threads - 1}
    assert stage.rows("SELECT count(*) FROM tasks.task") == [(rounds,)]
