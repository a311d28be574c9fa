"""GET /tasks and GET /tasks/{id}: what is shown, and pages that stay whole while tasks are submitted."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from tests.integration.writers.service.stage import Answer, Instance, Stage

NEXT = re.compile(r'<(?P<address>[^>]+)>; rel="next"')
BAD_QUERIES: list[tuple[dict[str, object], str]] = [
    ({"limit": 0}, "query.limit"),
    ({"limit": 501}, "query.limit"),
    ({"limit": "many"}, "query.limit"),
    ({"status": "done"}, "query.status.0"),
    ({"type": ""}, "query.type"),
    ({"type": "a\0"}, "query.type"),
    ({"created_after": "2030-01-01"}, "query.created_after"),
    ({"created_after": "2030-01-01T00:00:00"}, "query.created_after"),
    ({"created_before": "1e9"}, "query.created_before"),
    ({"created_before": "0001-01-01T00:00:00+01:00"}, "query.created_before"),
    ({"statsu": "dead"}, "query.statsu"),
    ({"cursor": "x" * 201}, "query.cursor"),
]


def pages(service: Instance, **query: object) -> Iterator[Answer]:
    """Yield the first page and those that follow it, by their Link."""
    answer = service.ask("GET", "/tasks", headers=None, **query)
    while True:
        assert answer.status == 200, answer
        yield answer
        link = NEXT.fullmatch(answer.headers.get("Link", ""))
        if link is None:
            assert answer.json["next"] is None
            return
        assert parse_qs(urlsplit(link["address"]).query)["cursor"] == [answer.json["next"]]
        answer = service.get(link["address"])


def ids(answers: Iterator[Answer]) -> list[str]:
    return [task["id"] for answer in answers for task in answer.json["tasks"]]


def insert(stage: Stage, count: int, *, created_at: str) -> set[str]:
    """Insert tasks of one moment."""
    rows = stage.rows(
        "INSERT INTO tasks.task (id, type, created_at) SELECT gen_random_uuid(), 'send', %s::timestamptz"
        " FROM generate_series(1, %s) RETURNING id::text",
        created_at,
        count,
    )
    return {task_id for (task_id,) in rows}


def test_a_task_is_shown_with_its_transitions_and_its_version_as_etag(service: Instance) -> None:
    task = service.submit()
    service.ask("POST", f"/tasks/{task['id']}/reschedule", {"run_at": "2099-01-01T00:00:00Z"})
    service.ask("POST", f"/tasks/{task['id']}/cancel")
    answer = service.get(f"/tasks/{task['id']}")
    assert (answer.status, answer.json["status"], answer.headers["ETag"]) == (200, "cancelled", '"3"')
    found = [(each["version"], each["from_status"], each["to_status"]) for each in answer.json["history"]]
    assert found[-2:] == [(2, "pending", "scheduled"), (3, "scheduled", "cancelled")]


def test_a_task_that_is_not_there_is_a_problem(service: Instance) -> None:
    answer = service.get(f"/tasks/{uuid4()}")
    assert (answer.status, answer.slug) == (404, "not-found")


def test_what_is_no_id_is_refused(service: Instance) -> None:
    for task_id in ("1", "a%00b", "%ff", "6d8f5e0c-1c5b-4d0e-9a39-0a6d1b2f7c1"):
        answer = service.get(f"/tasks/{task_id}")
        assert (answer.status, answer.json["errors"][0]["where"]) == (422, "path.task_id")


def test_a_list_is_the_newest_first_and_its_filters_hold(stage: Stage, service: Instance) -> None:
    old = insert(stage, 2, created_at="2020-01-01T00:00:00Z")
    tasks = [service.submit(f"type-{n % 2}") for n in range(4)]
    service.ask("POST", f"/tasks/{tasks[0]['id']}/cancel")
    newest_first = [task["id"] for task in reversed(tasks)]
    assert ids(pages(service))[:4] == newest_first
    assert ids(pages(service, type="type-1")) == newest_first[::2]
    assert ids(pages(service, status="cancelled")) == [tasks[0]["id"]]
    assert set(ids(pages(service, status=["cancelled", "pending"], limit=2))) == {*newest_first, *old}
    assert set(ids(pages(service, created_before="2021-01-01T00:00:00Z", limit=1))) == old
    assert ids(pages(service, created_after="2020-01-01T00:00:00.000001Z", type="type-0")) == newest_first[1::2]
    bounds = {"created_after": "2020-01-01T00:00:00Z", "created_before": "2020-01-01T00:00:00Z"}
    assert ids(pages(service, **bounds)) == []
    assert ids(pages(service, type="a'b%&=ä")) == []


def test_the_next_page_has_the_same_filters(stage: Stage, service: Instance) -> None:
    insert(stage, 3, created_at="2020-01-01T00:00:00Z")
    wanted = {service.submit("a&b=ä ")["id"] for _ in range(5)}
    query = {"type": "a&b=ä ", "status": ["pending", "dead"], "limit": 2, "created_after": "2021-01-01T00:00:00+00:00"}
    found = list(pages(service, **query))
    assert [len(page.json["tasks"]) for page in found] == [2, 2, 1]
    assert set(ids(iter(found))) == wanted


def test_tasks_of_one_moment_are_on_one_page_each(stage: Stage, service: Instance) -> None:
    wanted = insert(stage, 25, created_at="2020-01-01T00:00:00.123456Z")
    found = ids(pages(service, limit=4))
    assert (len(found), set(found)) == (25, wanted)


def test_no_task_is_missing_or_twice_while_others_are_submitted(stage: Stage) -> None:
    instances = [stage.serve(), stage.serve()]
    before = {instances[0].submit(payload=n)["id"] for n in range(30)}
    begun, stop = Event(), Event()

    def submit(service: Instance) -> int:
        count = 0
        while not stop.is_set():
            service.submit("later")
            begun.set()
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        submitting = [pool.submit(submit, instances[n % 2]) for n in range(2)]
        try:
            assert begun.wait(30)
            walks = [ids(pages(instances[n % 2], limit=4)) for n in range(3)]
        finally:
            stop.set()
        assert all(each.result() > 0 for each in submitting)
    for found in walks:
        assert len(found) == len(set(found))
        assert before <= set(found)
    assert len(walks[-1]) > len(before)


def test_a_query_that_is_wrong_is_refused(service: Instance) -> None:
    for query, where in BAD_QUERIES:
        answer = service.ask("GET", "/tasks", headers=None, **query)
        assert (answer.status, answer.slug) == (422, "invalid"), query
        assert [each["where"] for each in answer.json["errors"]] == [where]


def test_a_cursor_of_nobody_is_refused(service: Instance) -> None:
    for cursor in ("", "x", "\0", "ä", "A" * 32 + "=", "f" + "w" * 31):
        answer = service.get("/tasks", cursor=cursor)
        assert (answer.status, answer.slug) == (400, "bad-cursor"), cursor


def test_a_page_has_at_most_as_many_as_is_documented(stage: Stage, service: Instance) -> None:
    insert(stage, 501, created_at="2020-01-01T00:00:00Z")
    assert [len(page.json["tasks"]) for page in pages(service, limit=500)] == [500, 1]
    assert len(service.get("/tasks").json["tasks"]) == 50


def test_a_page_ends_before_its_payloads_and_results_are_larger_than_4_mib(service: Instance) -> None:
    large = 1_040_000
    wanted = [service.submit("large", payload="x" * large)["id"] for _ in range(9)]
    small = [service.submit("small")["id"] for _ in range(3)]
    found = list(pages(service, limit=500))
    assert [len(page.json["tasks"]) for page in found] == [3 + 4, 4, 1]
    assert ids(iter(found)) == [*reversed(small), *reversed(wanted)]
    assert max(len(page.text) for page in found) < 4_194_304 + 7 * 1000
    assert [len(page.json["tasks"]) for page in pages(service, limit=2, type="large")] == [2, 2, 2, 2, 1]


def test_what_other_writers_wrote_is_shown_though_python_cannot_read_it(stage: Stage, service: Instance) -> None:
    deep = "[" * 3000 + "]" * 3000
    written: list[tuple[Any, ...]] = [("1e5000", "infinity"), (deep, "20000-01-01"), ('"\\u2028"', "0044-03-15 BC")]
    for payload, run_at in written:
        [(task_id,)] = stage.rows(
            "INSERT INTO tasks.task (type, payload, run_at) VALUES ('send', %s::text::jsonb, %s) RETURNING id",
            payload,
            run_at,
        )
        assert isinstance(task_id, UUID)
        answer = service.get(f"/tasks/{task_id}")
        assert (answer.status, str(task_id) in answer.text) == (200, True)
    listed = service.get("/tasks")
    assert listed.status == 200
    assert deep in listed.text
    assert "1" + "0" * 5000 in listed.text
