"""What does not depend on a route: who may ask, methods, sizes, bugs."""

from tests.integration.writers.service.stage import Instance, Stage

TOKEN = "a-token-of-the-service"
ID = "6d8f5e0c-1c5b-4d0e-9a39-0a6d1b2f7c11"
PROTECTED = [
    ("GET", "/tasks"),
    ("POST", "/tasks"),
    ("GET", f"/tasks/{ID}"),
    ("POST", f"/tasks/{ID}/cancel"),
    ("POST", f"/tasks/{ID}/reschedule"),
    ("POST", "/events"),
    ("POST", "/create-tasks"),
    ("POST", "/grab-task"),
    ("DELETE", "/reset-tasks"),
]
NOT_ALLOWED = [
    ("DELETE", "/tasks", "GET, POST"),
    ("HEAD", "/tasks", "GET, POST"),
    ("PUT", f"/tasks/{ID}", "GET"),
    ("GET", f"/tasks/{ID}/cancel", "POST"),
    ("GET", "/events", "POST"),
    ("POST", "/healthz", "GET, HEAD"),
    ("BREW", "/", "GET"),
]


def test_without_the_token_nothing_is_answered_nor_read(stage: Stage) -> None:
    stage.allow_demo()
    service = stage.serve(token=TOKEN, demo="true")
    for given in (None, "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ä"):
        sent = {} if given is None else {"Authorization": given}
        for method, path in PROTECTED:
            answer = service.ask(method, path, b"no JSON" if method == "POST" else None, headers=sent)
            assert (answer.status, answer.slug) == (401, "unauthorized"), (given, method, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in service.command.stderr


def test_with_the_token_all_is_answered_and_what_watches_needs_none(stage: Stage) -> None:
    service = stage.serve(token=TOKEN)
    token = {"Authorization": f"Bearer {TOKEN}"}
    assert service.ask("POST", "/tasks", {"type": "send"}, headers=token).status == 201
    assert service.get("/tasks", headers=token).status == 200
    found = {
        path: service.get(path).status for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")
    }
    assert set(found.values()) == {200}, found


def test_a_method_that_is_not_served_is_answered_with_those_that_are(service: Instance) -> None:
    for method, path, allowed in NOT_ALLOWED:
        answer = service.ask(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed), (method, path)
        assert method == "HEAD" or answer.slug == "method-not-allowed"


def test_an_address_of_nothing_is_a_problem(service: Instance) -> None:
    for path in ("/nowhere", "/tasks/", f"/tasks/{ID}/", "//tasks", "/%ff%00", "/tasks/a/b/c"):
        answer = service.get(path)
        assert (answer.status, answer.slug) == (404, "not-found"), path


def test_a_body_over_the_limit_is_refused_and_one_at_the_limit_is_taken(stage: Stage) -> None:
    service = stage.serve(request_bytes="1024")
    frame = b'{"type": "send", "payload": ""}'
    for size, status in ((1024, 201), (1025, 413)):
        body = frame.replace(b'""', b'"' + b"x" * (size - len(frame)) + b'"')
        assert len(body) == size
        assert service.ask("POST", "/tasks", body).status == status
    refused = service.ask("POST", "/events", b"{" * 1025)
    assert (refused.status, refused.slug) == (413, "too-large")
    assert "WRITERS_REQUEST_BYTES" in refused.json["detail"]


def test_a_bug_is_a_problem_that_names_its_line_in_the_log(stage: Stage, service: Instance) -> None:
    stage.database.execute(
        "CREATE OR REPLACE FUNCTION tasks.try_cancel(id uuid, expected bigint, OUT changed boolean, OUT status text,"
        " OUT version bigint) LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RAISE 'a secret of ours'; END $$"
    )
    answer = service.ask("POST", f"/tasks/{ID}/cancel", headers={"X-Request-Id": "asked-here"})
    assert (answer.status, answer.slug) == (500, "bug")
    assert "asked-here" in answer.json["detail"]
    assert "a secret of ours" not in answer.text
    assert "a secret of ours" in str(service.command.logged("bug", request="asked-here"))
    assert service.submit()["status"] == "pending"


def test_who_asks_makes_no_series_of_its_own_in_the_metrics(service: Instance) -> None:
    for n in range(3):
        service.ask(f"METHOD{n}", f"/path/{n}")
        service.get(f"/tasks/{ID[:-1]}{n}")
    metrics = service.get("/metrics").text
    assert 'writers_http_requests_total{method="(other)",route="(other)",status="404"} 3.0' in metrics
    assert 'writers_http_requests_total{method="GET",route="/tasks/{task_id}",status="404"} 3.0' in metrics
    assert "METHOD1" not in metrics
