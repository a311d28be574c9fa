"""The end of an instance, and of a client: what is in flight ends or is rolled back, and no task stays grabbed."""

import signal
import socket

import pytest

from sandbox.machine.waiting import until
from tests.integration.writers.service.grabs import create, grab, held, states
from tests.integration.writers.service.stage import Instance, Stage


@pytest.fixture
def demo(stage: Stage) -> Stage:
    stage.allow_demo()
    stage.settings["WRITERS_DEMO"] = "true"
    return stage


def takes_no_connection(service: Instance) -> None:
    """Wait until the instance listens no more."""
    host, _, port = service.address.rpartition(":")

    def refuses() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) != 0

    until(refuses, what=f"{service.name} listens no more", seconds=20, every=0.01)


def test_requests_in_flight_end_after_sigterm_and_the_exit_code_is_0(demo: Stage) -> None:
    service = demo.serve()
    create(service, 3)
    grabs = [service.send("POST", "/grab-task", seconds=2) for _ in range(2)]
    held(demo, 2)
    service.command.process.terminate()
    takes_no_connection(service)
    assert [answer().status for answer in grabs] == [200, 200]
    assert service.command.ended() == 0, service.command.tail()
    assert states(demo) == {"completed": 2, "pending": 1}
    assert service.command.log[-1]["event"] == "stopped"


def test_an_idle_connection_does_not_hold_up_the_end(demo: Stage) -> None:
    service = demo.serve(grace="3600")
    kept, silent = service.connect(), service.connect()
    kept.request("GET", "/")
    assert kept.getresponse().read()
    silent.connect()
    assert service.command.terminate() == 0, service.command.tail()
    for each in (kept, silent):
        each.close()


def test_what_runs_on_after_the_grace_is_broken_off_and_rolled_back(demo: Stage) -> None:
    service = demo.serve(grace="0")
    create(service, 1)
    connection = grab(service)
    held(demo, 1)
    assert service.command.terminate() == 0, service.command.tail()
    held(demo, 0)
    assert states(demo) == {"pending": 1}
    assert service.command.logged("requests broken off", seconds=1)["requests"] == 1
    assert "Traceback" not in service.command.stderr
    connection.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once_and_what_was_in_flight_is_rolled_back(
    demo: Stage, number: signal.Signals, code: int
) -> None:
    service = demo.serve(grace="3600")
    create(service, 1)
    connection = grab(service)
    held(demo, 1)
    service.command.process.send_signal(number)
    takes_no_connection(service)
    service.command.process.send_signal(number)
    assert service.command.ended() == code
    held(demo, 0)
    assert states(demo) == {"pending": 1}
    assert service.command.log[-1]["event"] == "not drained"
    connection.close()


def test_a_task_of_an_instance_that_is_killed_is_pending_again(demo: Stage) -> None:
    killed, other = demo.serve(), demo.serve()
    create(killed, 1)
    connection = grab(killed)
    held(demo, 1)
    assert other.ask("POST", "/grab-task", seconds=0).slug == "not-found"
    killed.command.kill()
    held(demo, 0)
    answer = other.ask("POST", "/grab-task", seconds=0)
    assert (answer.status, answer.json["instance"]) == (200, other.name)
    connection.close()


def test_a_task_of_a_client_that_leaves_is_pending_again_and_its_session_is_free(demo: Stage) -> None:
    service = demo.serve(pool_size="1", pool_wait="5")
    create(service, 1)
    connection = grab(service)
    held(demo, 1)
    connection.close()
    held(demo, 0)
    assert states(demo) == {"pending": 1}
    until(
        lambda: [line for line in service.command.log if line.get("path") == "/grab-task"],
        what="the request has its line in the log",
        seconds=10,
    )
    answer = service.ask("POST", "/grab-task", seconds=0)
    assert (answer.status, answer.json["number"]) == (200, 1)
    ((history,),) = demo.rows(
        "SELECT array_agg(to_status ORDER BY h.version) FROM tasks.task, tasks.history_of(task.id) AS h"
    )
    assert history == ["pending", "running", "completed"]


def test_a_client_that_leaves_before_its_request_was_sent_is_no_bug(demo: Stage) -> None:
    service = demo.serve()
    host, _, port = service.address.rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
    assert service.command.logged("request", path="/tasks")["status"] == 400
    assert "bug" not in {line["event"] for line in service.command.log}
    assert 'route="/tasks",status="400"} 1.0' in service.get("/metrics").text


def test_a_grab_of_a_task_that_was_submitted_otherwise_is_answered_and_completed_though_it_has_no_number(
    demo: Stage,
) -> None:
    service = demo.serve()
    for payload in ("[]", '{"number": "many"}', '{"number": 12345678901}', '{"number": 7}'):
        demo.rows("SELECT tasks.submit('demo.grab', %s::jsonb)", payload)
    answers = [service.ask("POST", "/grab-task", seconds=0) for _ in range(4)]
    assert [(answer.status, answer.json["number"]) for answer in answers] == [(200, None)] * 3 + [(200, 7)]
    assert states(demo) == {"completed": 4}


def test_a_database_without_the_schema_ends_the_start_with_its_remedy(demo: Stage) -> None:
    demo.database.execute("DROP SCHEMA outbox_setup CASCADE")
    command = demo.start()
    assert command.ended() == 1
    assert "relay setup" in command.stderr.splitlines()[-1]


def test_an_address_that_is_taken_ends_the_start_with_its_remedy(demo: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = demo.start(http_address=f"127.0.0.1:{taken.getsockname()[1]}")
        assert command.ended() == 1
    assert "set WRITERS_HTTP_ADDRESS to a free host:port" in command.stderr.splitlines()[-1]
