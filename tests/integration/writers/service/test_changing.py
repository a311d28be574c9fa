"""Cancel and reschedule, with and without If-Match: the current state comes back, and a race has one winner."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import uuid4

import psycopg

from outboxkit import sql
from tests.integration.writers.service.stage import Answer, Instance, Stage

LATER = {"run_at": "2099-01-01T00:00:00Z"}


def change(service: Instance, task: dict[str, Any], what: str, if_match: str | None = None) -> Answer:
    headers = {} if if_match is None else {"If-Match": if_match}
    return service.ask("POST", f"/tasks/{task['id']}/{what}", LATER if what == "reschedule" else None, headers=headers)


def claim(stage: Stage, task: dict[str, Any]) -> None:
    """Claim a pending task, as a consumer does."""
    stage.rows(
        "UPDATE tasks.task SET status = 'running', version = version + 1, attempts = attempts + 1,"
        " claimed_by = 'a worker', lease_until = clock_timestamp() + interval '1 hour' WHERE id = %s RETURNING id",
        task["id"],
    )


def end(stage: Stage, task: dict[str, Any]) -> None:
    stage.rows(
        "UPDATE tasks.task SET status = 'completed', version = version + 1, claimed_by = NULL, lease_until = NULL"
        " WHERE id = %s RETURNING id",
        task["id"],
    )


def conflict(answer: Answer, status: int, slug: str, state: str, version: int) -> None:
    """Check a conflict, and that it says how the task is."""
    assert (answer.status, answer.slug) == (status, slug), answer
    assert (answer.json["task"]["status"], answer.json["task"]["version"]) == (state, version)
    assert answer.headers["ETag"] == f'"{version}"'
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_pending_task_is_changed(service: Instance) -> None:
    for what, status in (("cancel", "cancelled"), ("reschedule", "scheduled")):
        for if_match in (None, "*", '"1"'):
            task = service.submit()
            answer = change(service, task, what, if_match)
            assert (answer.status, answer.json["status"], answer.json["version"]) == (200, status, 2)
            assert answer.headers["ETag"] == '"2"'
            looked = service.get(f"/tasks/{task['id']}").json
            del looked["history"]
            assert looked == answer.json


def test_a_scheduled_task_is_changed_too(service: Instance) -> None:
    task = service.submit(**LATER)
    assert change(service, task, "reschedule", '"1"').json["status"] == "scheduled"
    assert change(service, task, "cancel", '"2"').json["status"] == "cancelled"


def test_a_running_task_is_asked_to_stop_and_is_not_rescheduled(stage: Stage, service: Instance) -> None:
    task = service.submit()
    claim(stage, task)
    conflict(change(service, task, "reschedule"), 409, "state-conflict", "running", 2)
    stopping = change(service, task, "cancel", '"2"')
    assert (stopping.status, stopping.json["status"], stopping.json["claimed_by"]) == (200, "cancelling", "a worker")
    conflict(change(service, task, "reschedule"), 409, "state-conflict", "cancelling", 3)


def test_a_task_that_is_cancelled_stays_so_and_that_is_no_error(service: Instance) -> None:
    task = service.submit()
    change(service, task, "cancel")
    for if_match in (None, "*", '"2"'):
        again = change(service, task, "cancel", if_match)
        assert (again.status, again.json["status"], again.json["version"]) == (200, "cancelled", 2)
    conflict(change(service, task, "cancel", '"1"'), 412, "version-conflict", "cancelled", 2)


def test_a_task_that_has_ended_is_not_changed(stage: Stage, service: Instance) -> None:
    task = service.submit()
    claim(stage, task)
    end(stage, task)
    for what in ("cancel", "reschedule"):
        for if_match in (None, "*", '"3"'):
            conflict(change(service, task, what, if_match), 409, "state-conflict", "completed", 3)
        conflict(change(service, task, what, '"1"'), 412, "version-conflict", "completed", 3)


def test_another_version_changes_nothing(service: Instance) -> None:
    task = service.submit()
    for what in ("cancel", "reschedule"):
        for if_match in ('"2"', '"999999999999999999"', 'W/"1"', '"other"', '"01"', '""'):
            conflict(change(service, task, what, if_match), 412, "version-conflict", "pending", 1)
    assert service.get(f"/tasks/{task['id']}").json["version"] == 1


def test_what_is_no_etag_changes_nothing(service: Instance) -> None:
    task = service.submit()
    for what in ("cancel", "reschedule"):
        for if_match in ("1", "", '"1', '"1", "2"'):
            answer = change(service, task, what, if_match)
            assert (answer.status, answer.json["errors"][0]["where"]) == (422, "header.if-match")
    assert service.get(f"/tasks/{task['id']}").json["version"] == 1


def test_a_task_that_is_not_there_cannot_be_changed(service: Instance) -> None:
    for what in ("cancel", "reschedule"):
        for if_match in (None, '"1"'):
            answer = change(service, {"id": uuid4()}, what, if_match)
            assert (answer.status, answer.slug) == (404, "not-found")


def test_a_task_of_the_locking_demo_is_cancelled_but_not_moved_to_a_time_that_would_announce_it(stage: Stage) -> None:
    stage.allow_demo()
    service = stage.serve(demo="true")
    assert service.ask("POST", "/create-tasks", count=1).status == 201
    [task] = service.get("/tasks").json["tasks"]
    refused = change(service, task, "reschedule")
    assert (refused.status, refused.slug) == (422, "refused")
    assert change(service, task, "cancel", '"1"').json["status"] == "cancelled"
    assert stage.rows("SELECT count(*) FROM outbox.event") == [(0,)]


def test_of_many_that_change_one_version_exactly_one_does(stage: Stage) -> None:
    threads = 10
    instances = [stage.serve(), stage.serve()]
    start = Barrier(threads)
    tasks = [instances[0].submit() for _ in range(10)]

    def send(n: int) -> list[Answer]:
        answers = []
        for task in tasks:
            start.wait(30)
            answers.append(change(instances[n % 2], task, "cancel" if n % 3 else "reschedule", '"1"'))
        return answers

    with ThreadPoolExecutor(threads) as pool:
        by_thread = list(pool.map(send, range(threads)))
    for answers in zip(*by_thread, strict=True):
        assert Counter(answer.status for answer in answers) == {200: 1, 412: threads - 1}
        assert {answer.headers["ETag"] for answer in answers} == {'"2"'}
    assert stage.rows("SELECT DISTINCT version FROM tasks.task") == [(2,)]


def test_a_claim_and_a_change_of_one_version_have_one_winner(stage: Stage, service: Instance) -> None:
    tasks = [service.submit() for _ in range(40)]
    start = Barrier(2)
    claimed: set[str] = set()

    def work() -> None:
        with psycopg.connect(stage.isolated.database_url, autocommit=True) as worker:
            for task in tasks:
                start.wait(30)
                row = worker.execute(
                    sql.query("task_claim"),
                    {"ids": [task["id"]], "versions": [1], "asked": [None], "worker": "a worker", "lease": 60},
                ).fetchone()
                assert row is not None
                if row[1] == "running":
                    claimed.add(task["id"])

    def send() -> dict[str, Answer]:
        answers = {}
        for n, task in enumerate(tasks):
            start.wait(30)
            answers[task["id"]] = change(service, task, "cancel" if n % 2 else "reschedule", '"1"')
        return answers

    with ThreadPoolExecutor(2) as pool:
        working, sending = pool.submit(work), pool.submit(send)
        working.result()
        answers = sending.result()
    for task_id, answer in answers.items():
        if task_id in claimed:
            conflict(answer, 412, "version-conflict", "running", 2)
        else:
            assert (answer.status, answer.json["version"]) == (200, 2)
    states = Counter(state for (state,) in stage.rows("SELECT status FROM tasks.task"))
    assert states["running"] == len(claimed)
    assert stage.rows("SELECT DISTINCT version FROM tasks.task") == [(2,)]
