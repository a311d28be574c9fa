"""Postgres away, refusing or busy: 503 with Retry-After, and the service goes on by itself when that is over."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier, Literal

from sandbox import Sandbox
from sandbox.machine.waiting import until
from tests.integration.writers.service.grabs import create, grab, held
from tests.integration.writers.service.stage import PASSWORD, Answer, Instance, Stage
from tests.support.pgbouncer import pgbouncer
from tests.support.proxy import Proxy
from tests.support.urls import login

TASK = {"type": "send"}
TASKS = "SELECT count(*) FROM tasks.task"
ID = "6d8f5e0c-1c5b-4d0e-9a39-0a6d1b2f7c11"


@pytest.fixture
def proxy(stage: Stage) -> Iterator[Proxy]:
    """Put a link that can break between the instances and Postgres."""
    with Proxy(stage.settings["WRITERS_DATABASE_URL"]) as link:
        stage.settings["WRITERS_DATABASE_URL"] = link.url
        yield link


def refused(answer: Answer, slug: str) -> None:
    assert (answer.status, answer.slug) == (503, slug), answer
    assert int(answer.headers["Retry-After"]) >= 1


def submits(instance: Instance, *, seconds: float = 20) -> None:
    """Wait until the instance takes tasks again."""
    what = f"{instance.name} takes tasks"
    until(lambda: instance.ask("POST", "/tasks", TASK).status == 201, what=what, seconds=seconds)


def opens_five_sessions(service: Instance) -> None:
    """Use five sessions at once, so that it has them."""
    create(service, 5)
    grabs = [service.send("POST", "/grab-task", seconds=0.5) for _ in range(5)]
    assert [answer().status for answer in grabs] == [200] * 5


def ends_sessions(stage: Stage) -> None:
    """End every session of the service."""
    stage.rows("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'outbox_service'")


def test_a_link_that_breaks_costs_503_until_it_is_back(stage: Stage, proxy: Proxy) -> None:
    service = stage.serve(pool_wait="0.5")
    service.submit()
    proxy.refuse.set()
    proxy.cut()
    for _ in range(2):
        refused(service.ask("POST", "/tasks", TASK), "database-unavailable")
    assert service.get("/healthz").status == 200
    ready = service.get("/readyz")
    assert (ready.status, ready.json) == (503, {"database": False})
    assert "writers_database_up 0.0" in service.get("/metrics").text
    service.command.logged("database not available")
    proxy.refuse.clear()
    submits(service)
    assert service.get("/readyz").json == {"database": True}
    until(lambda: _asked_and_said(service, "database available again"), what="it says so", seconds=20)
    assert "writers_database_up 1.0" in service.get("/metrics").text


def _asked_and_said(service: Instance, event: str) -> bool:
    return service.get("/readyz").status == 200 and bool(said(service, event))


def said(service: Instance, event: str) -> list[str]:
    """Return the reasons of the lines with this event."""
    return [str(line.get("reason", event)) for line in service.command.log if line["event"] == event]


def test_an_instance_starts_without_a_database_and_works_when_there_is_one(stage: Stage, proxy: Proxy) -> None:
    proxy.refuse.set()
    service = stage.serve(pool_wait="0.5")
    refused(service.ask("POST", "/tasks", TASK), "database-unavailable")
    assert service.get("/").json["instance"] == service.name
    proxy.refuse.clear()
    submits(service)


def test_a_request_after_a_restart_of_postgres_succeeds_though_every_session_is_gone(
    stage: Stage, sandbox: Sandbox
) -> None:
    stage.allow_demo()
    service = stage.serve(demo="true")
    opens_five_sessions(service)
    stage.database.close()
    try:
        sandbox.postgres.stop("fast")
        refused(service.ask("POST", "/tasks", TASK), "database-unavailable")
    finally:
        sandbox.postgres.start()
    stage.reconnect()
    submits(service)
    assert [service.ask("POST", "/tasks", TASK).status for _ in range(10)] == [201] * 10


def test_sessions_that_the_server_has_ended_cost_no_request(stage: Stage) -> None:
    stage.allow_demo()
    service = stage.serve(demo="true")
    opens_five_sessions(service)
    ends_sessions(stage)
    assert [service.ask("POST", "/tasks", TASK).status for _ in range(10)] == [201] * 10
    assert not said(service, "database not available")


def waiting(stage: Stage, count: int) -> None:
    """Wait until exactly `count` sessions of the service wait for a lock."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'outbox_service' AND wait_event_type = 'Lock'"
    until(lambda: stage.rows(statement) == [(count,)], what=f"{count} sessions wait", seconds=20)


def test_when_every_session_is_busy_requests_are_told_to_come_back_and_the_instance_stays_ready(stage: Stage) -> None:
    service = stage.serve(pool_size="2", pool_wait="2")  # the second session is opened for the second request
    with stage.database.transaction():
        stage.database.execute("LOCK TABLE tasks.task")
        submitted = [service.send("POST", "/tasks", TASK) for _ in range(2)]
        waiting(stage, 2)
        refused(service.ask("POST", "/tasks", TASK), "overloaded")
        assert service.get("/readyz").status == 200
        metrics = service.get("/metrics").text
        assert 'writers_pool_sessions{state="busy"} 2.0' in metrics
        assert 'writers_pool_sessions{state="free"} 0.0' in metrics
    assert [answer().status for answer in submitted] == [201, 201]
    assert service.ask("POST", "/tasks", TASK).status == 201
    assert not said(service, "database not available")


def test_grabs_have_half_of_the_sessions_and_leave_the_others_to_who_submits(stage: Stage) -> None:
    stage.allow_demo()
    service = stage.serve(demo="true", pool_size="4", pool_wait="2")
    create(service, 3)
    grabs = [grab(service) for _ in range(2)]
    held(stage, 2)
    refused(service.ask("POST", "/grab-task", seconds=0), "overloaded")
    assert service.ask("POST", "/tasks", TASK).status == 201
    for each in grabs:
        each.close()
    held(stage, 0)
    until(lambda: service.ask("POST", "/grab-task", seconds=0).status == 200, what="a grab is taken", seconds=20)


@pytest.mark.parametrize("code", ["40001", "40P01", "57014"])
def test_a_conflict_is_answered_as_one_and_is_no_outage(stage: Stage, service: Instance, code: str) -> None:
    fails(stage, code, "'in the way'")
    answer = service.ask("POST", f"/tasks/{ID}/cancel")
    refused(answer, "locked")
    assert "nothing was written" in answer.json["detail"]
    assert not said(service, "database not available")


def test_one_failure_with_many_texts_is_told_once(stage: Stage, service: Instance) -> None:
    fails(stage, "53100", "'could not extend file ' || clock_timestamp()")
    for _ in range(3):
        refused(service.ask("POST", f"/tasks/{ID}/cancel"), "database-unavailable")
    assert len(said(service, "database not available")) == 1


def fails(stage: Stage, code: str, text: str) -> None:
    """Let a cancel fail with an error of this code."""
    body = f"BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = {text}; END"
    create_or_replace = (
        "CREATE OR REPLACE FUNCTION tasks.try_cancel(id uuid, expected bigint, OUT changed boolean, OUT status text,"
        f" OUT version bigint) LANGUAGE plpgsql SECURITY DEFINER AS $$ {body} $$"
    )
    stage.database.execute(create_or_replace.encode())


@pytest.mark.parametrize(
    ("at", "told", "kept"),
    [(b"tasks.submit", "nothing was written", 0), (b"COMMIT", "it is not known whether the request took effect", 1)],
    ids=["before the commit", "during the commit"],
)
def test_a_link_that_breaks_in_a_request_says_what_is_known_and_the_key_makes_a_second_try_safe(
    stage: Stage, at: bytes, told: str, kept: int
) -> None:
    reached = threading.Event()
    armed = threading.Event()

    def watch(_: int, to_server: bool, sent: bytes) -> None:  # noqa: FBT001 - the proxy's
        if to_server and armed.is_set() and at in sent:
            link.swallow_to_client.set()
            reached.set()

    with Proxy(stage.settings["WRITERS_DATABASE_URL"], watch) as link:
        service = stage.serve(database_url=link.url)
        service.submit("another")
        armed.set()
        waiting = service.send("POST", "/tasks", TASK, headers={"Idempotency-Key": "once"})
        assert reached.wait(30)
        armed.clear()
        until(lambda: stage.rows(TASKS) == [(1 + kept,)], what="the commit took place, or not", seconds=30)
        link.swallow_to_client.clear()
        link.cut()
        answer = waiting()
        refused(answer, "database-unavailable")
        assert told in answer.json["detail"]
        assert stage.rows(TASKS) == [(1 + kept,)]
        again = service.ask("POST", "/tasks", TASK, headers={"Idempotency-Key": "once"})
        assert again.status == 201
        assert ("Idempotency-Replayed" in again.headers) == bool(kept)
        assert stage.rows(TASKS) == [(2,)]


def test_a_server_that_takes_no_writes_is_refused_until_it_does(stage: Stage) -> None:
    service = stage.serve(pool_wait="0.5")
    service.submit()
    stage.database.execute("ALTER ROLE outbox_service SET default_transaction_read_only = on")
    ends_sessions(stage)
    refused(service.ask("POST", "/tasks", TASK), "database-unavailable")
    assert service.get("/readyz").status == 503
    told = service.command.logged("database not available")
    assert told["reason"].startswith("Postgres takes no writes")
    assert "name the primary" in told["remedy"]
    stage.database.execute("ALTER ROLE outbox_service RESET default_transaction_read_only")
    submits(service)


def test_a_session_that_becomes_read_only_is_replaced_and_reads_are_not_served_by_it(stage: Stage) -> None:
    """As after a switchover that ends no session: a server that has become a standby says so."""
    service = stage.serve(pool_wait="0.5")
    service.submit()
    stage.database.execute("SET default_transaction_read_only = off")
    stage.database.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    try:
        stage.database.execute("SELECT pg_reload_conf()")
        refused_once(service)
        assert service.get("/readyz").status == 503
    finally:
        stage.database.execute("ALTER SYSTEM RESET default_transaction_read_only")
        stage.database.execute("SELECT pg_reload_conf()")
    submits(service)


def refused_once(service: Instance) -> None:
    """Wait until a request meets the server that takes no writes."""
    answers: list[Answer] = []

    def fails() -> bool:
        answers.append(service.ask("POST", "/tasks", TASK))
        return answers[-1].status != 201

    until(fails, what="a request is refused", seconds=20)
    refused(answers[-1], "database-unavailable")


def test_a_changed_password_is_read_from_its_file_without_a_restart(stage: Stage, tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text(stage.settings.pop("WRITERS_DATABASE_URL"), encoding="ascii")
    service = stage.serve(database_url_file=str(secret), pool_wait="0.5")
    service.submit()
    renew = SQL("ALTER ROLE {} PASSWORD {}").format(Identifier("outbox_service"), Literal("another one"))
    stage.database.execute(renew)
    ends_sessions(stage)
    refused(service.ask("POST", "/tasks", TASK), "database-unavailable")
    told = service.command.logged("database not available")
    assert told["reason"].startswith("Postgres refuses the login")
    assert "WRITERS_DATABASE_URL_FILE" in told["remedy"]
    secret.write_text(login(stage.isolated.database_url, "outbox_service", "another one"), encoding="ascii")
    submits(service)
    assert PASSWORD not in service.command.stderr
    assert "another one" not in service.command.stderr


def test_a_right_that_is_missing_is_named_in_the_log_and_works_when_it_is_given(stage: Stage) -> None:
    service = stage.serve()
    stage.database.execute("REVOKE USAGE ON SCHEMA tasks FROM outbox_service")
    answer = service.ask("POST", "/tasks", TASK)
    assert (answer.status, answer.slug) == (503, "database-refuses")
    assert "sql/roles.sql" in service.command.logged("database refuses")["remedy"]
    stage.database.execute("GRANT USAGE ON SCHEMA tasks TO outbox_service")
    service.submit()


def test_a_task_that_another_transaction_keeps_is_not_waited_for_for_long(stage: Stage) -> None:
    service = stage.serve()
    task = service.submit()
    with stage.database.transaction():
        stage.database.execute("SELECT FROM tasks.task FOR UPDATE")
        refused(service.ask("POST", f"/tasks/{task['id']}/cancel"), "locked")
        assert service.get(f"/tasks/{task['id']}").json["status"] == "pending", "reading waits for nobody"
    assert service.ask("POST", f"/tasks/{task['id']}/cancel").json["status"] == "cancelled"
    assert not said(service, "database not available")


def test_keys_that_are_older_than_the_setting_are_removed_however_many_there_are(stage: Stage) -> None:
    stage.database.execute(
        "INSERT INTO tasks.request (key, digest, task_id, at)"
        " SELECT n, 'd', gen_random_uuid(), now() - CASE WHEN n <= 2500 THEN interval '2 h' ELSE interval '30 min' END"
        " FROM generate_series(1, 2510) AS n"
    )
    stage.serve(request_retention="3600")
    kept = "SELECT count(*) FROM tasks.request"
    until(lambda: stage.rows(kept) == [(10,)], what="the old keys are removed", seconds=30)


def test_an_error_in_removing_old_keys_is_told_and_ends_nothing(stage: Stage) -> None:
    stage.database.execute(
        "CREATE OR REPLACE FUNCTION tasks.prune_requests(keep interval, batch integer DEFAULT 1000) RETURNS bigint"
        " LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RAISE 'nobody has expected this'; END $$"
    )
    service = stage.serve()
    assert "nobody has expected this" in str(service.command.logged("bug"))
    service.submit()
    assert service.command.terminate() == 0, service.command.tail()


def test_behind_pgbouncer_tasks_are_submitted_and_grabbed_and_their_holders_are_seen(stage: Stage) -> None:
    stage.allow_demo()
    with pgbouncer(stage.settings["WRITERS_DATABASE_URL"]) as through:
        service = stage.serve(demo="true", database_url=through, instance="pooled")
        submitted = {service.submit(payload={"n": n})["id"] for n in range(20)}
        assert len(submitted) == 20
        create(service, 2)
        connections = [grab(service, seconds=60), grab(service, seconds=60)]
        held(stage, 2)
        shown = service.get("/tasks", type="demo.grab").json["tasks"]
        assert [each["locked_by"]["instance"] for each in shown] == ["pooled", "pooled"]
        for each in connections:
            each.close()
        held(stage, 0)
        assert service.command.terminate() == 0
