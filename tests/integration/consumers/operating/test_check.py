"""`consumers check` on real servers: ready, bare, as the role outbox_consumer, with faults, and not reachable."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pika.channel import Channel

from outboxkit.amqp.connection import Connection
from outboxkit.amqp.topology import dead_letter_queue
from sandbox import Isolated, Sandbox
from sandbox.machine.waiting import until
from tests.integration.consumers.events.stage import APPLIED
from tests.integration.consumers.stage import Stage
from tests.support.commands import ROOT
from tests.support.pgbouncer import pgbouncer
from tests.support.roles import role
from tests.support.users import user

Findings = dict[str, dict[str, Any]]

ROLES = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
CANNOT_BE_KNOWN = {"broker.permissions", "broker.consumer_timeout"}


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(isolated, tmp_path, stack)


def check(stage: Stage, **settings: str) -> Findings:
    """Return the findings by their ids."""
    command = stage.command("check", "--json", **settings)
    code = command.ended(seconds=60)
    said = json.loads(command.stdout)
    findings = {finding["id"]: finding for finding in said["checks"]}
    failed = bool(statuses(findings, "FAIL"))
    assert (code, said["ok"]) == (3 if failed else 0, not failed), command.stderr
    for finding in findings.values():
        assert (finding["status"] == "OK") is not bool(finding["remedy"]), finding
        assert "\n" not in finding["remedy"]
    return findings


def statuses(findings: Findings, status: str) -> set[str]:
    return {identity for identity, finding in findings.items() if finding["status"] == status}


def test_a_running_consumer_leaves_unknown_only_what_amqp_does_not_show(stage: Stage) -> None:
    stage.consume()
    stage.submit("greet", 1)
    findings = check(stage)
    assert statuses(findings, "UNKNOWN") == CANNOT_BE_KNOWN
    assert not statuses(findings, "FAIL") | statuses(findings, "WARN"), findings
    assert "began a scheduled job" in findings["tasks.scheduler"]["summary"]
    table = stage.command("check")
    assert table.ended(seconds=60) == 0
    assert "tasks.scheduler" in table.stdout
    assert f"{len(CANNOT_BE_KNOWN)} UNKNOWN" in table.stdout


def test_before_the_first_consumer_it_says_what_is_not_there_yet(stage: Stage) -> None:
    stage.submit("nobody's", 2)
    findings = check(stage)
    assert statuses(findings, "WARN") == {"broker.queue", "broker.dead_letters", "tasks.unhandled", "tasks.scheduler"}
    assert findings["tasks.unhandled"]["facts"] == {"without": {"nobody's": 2}}
    assert not stage.ready(stage.queue), "a check declares no queue"


@pytest.mark.parametrize(
    ("fault", "identity", "remedy"),
    [
        ({"handlers": "no.such"}, "tasks.handlers", "name an importable Python module"),
        ({"exchange": "nowhere"}, "broker.exchange", "CONSUMERS_EXCHANGE"),
        ({"database_url": "postgresql://u:planted@127.0.0.1:1/d"}, "postgres.connection", "host and port"),
        ({"amqp_url": "amqp://u:planted@127.0.0.1:1/%2F"}, "broker.connection", "check that it runs"),
    ],
)
def test_each_fault_fails_its_check_and_the_ids_stay(
    stage: Stage, fault: dict[str, str], identity: str, remedy: str
) -> None:
    findings = check(stage, **fault)
    assert statuses(findings, "FAIL") == {identity}
    assert remedy in findings[identity]["remedy"]
    assert "planted" not in str(findings)
    assert list(findings) == list(check(stage))


def test_a_second_host_that_cannot_be_used_is_named_before_it_is_needed(stage: Stage) -> None:
    url = f"{stage.isolated.amqp_url},amqp://u:planted@127.0.0.1:1/%2F"
    found = check(stage, amqp_url=url)["broker.nodes"]
    assert found["status"] == "WARN"
    assert "1 of 2 RabbitMQ nodes cannot be used: RabbitMQ at 127.0.0.1:1/" in found["summary"]
    assert "planted" not in str(found)


def test_a_queue_with_other_arguments_fails_with_what_differs(stage: Stage) -> None:
    async def classic(connection: Connection, channel: Channel) -> None:
        await connection.call(channel.queue_declare, stage.queue, durable=True)

    stage.broker(classic)
    found = check(stage)["broker.queue"]
    assert found["status"] == "FAIL"
    assert "x-queue-type is classic, not quorum" in found["summary"]
    assert "x-delivery-limit is not set, not 20" in found["summary"]
    assert "announce again the tasks whose messages only the old one has" in found["remedy"]
    assert dead_letter_queue(stage.queue) not in found["summary"].partition(":")[0]


def _database(stage: Stage) -> Callable[[str], None]:
    (name,) = stage.rows("SELECT current_database()")[0]

    def change(what: str) -> None:
        stage.database.execute("SET default_transaction_read_only = off")
        stage.database.execute(f"ALTER DATABASE {name} {what}".encode())

    return change


def test_settings_of_the_server_that_end_or_refuse_work_are_found(stage: Stage) -> None:
    change = _database(stage)
    change("SET statement_timeout = '1s'")
    change("SET idle_in_transaction_session_timeout = '3s'")
    change("SET idle_session_timeout = '60s'")
    change("SET synchronous_commit = off")
    change("SET default_transaction_read_only = on")
    findings = check(stage, concurrency="300")
    assert {
        "postgres.statement_timeout",
        "postgres.idle_in_transaction",
        "postgres.idle_session",
        "postgres.synchronous_commit",
    } <= statuses(findings, "WARN")
    assert statuses(findings, "FAIL") == {"postgres.writable", "postgres.sessions"}
    assert findings["postgres.sessions"]["facts"]["needed"] == 5 + 2 * 300 * 2, "in threads and on the loop"
    assert "RESET default_transaction_read_only" in findings["postgres.writable"]["remedy"]


def test_each_missing_right_has_its_grant_and_the_grants_suffice(stage: Stage) -> None:
    url = stage.isolated.database_url
    with role(url, "LOGIN", "secret", granted=False) as allowed:
        name = allowed.partition("://")[2].partition(":")[0]
        found = check(stage, database_url=allowed)["postgres.privileges"]
        assert found["status"] == "FAIL"
        assert f'GRANT SELECT ON tasks.task TO "{name}"' in found["remedy"]
        for grant in found["remedy"].partition(": ")[2].split("; "):
            stage.database.execute(grant.encode())
        findings = check(stage, database_url=allowed)
        assert findings["postgres.privileges"]["status"] == "OK"
        assert not statuses(findings, "FAIL")
        consumer = stage.consume(database_url=allowed, retry_base="0.1")
        stage.submit("greet", 1)
        stage.submit("fails-twice", 1)
        stage.submit("leaves", 1)
        due = "SELECT tasks.submit('greet', '{\"name\": \"later\"}', run_at => clock_timestamp() + interval '1 s')"
        stage.rows(due)
        # The task that "leaves" submits one for tomorrow.
        until(
            lambda: (stage.relay(), stage.statuses() == {"completed": 4, "scheduled": 1})[1],
            what="a task that waits, one that fails, and what one leaves are announced",
            seconds=30,
        )
        assert consumer.terminate() == 0


def test_the_grants_suffice_for_handlers_of_events(stage: Stage) -> None:
    stage.database.execute(APPLIED)
    url = stage.isolated.database_url
    settings = {
        "handlers": "tests.integration.consumers.events.handlers",
        "events_queue": stage.isolated.queue("events"),
    }
    with role(url, "LOGIN", "secret", granted=False) as allowed:
        name = allowed.partition("://")[2].partition(":")[0]
        remedy = check(stage, database_url=allowed, **settings)["postgres.privileges"]["remedy"]
        for right in (
            "USAGE ON SCHEMA inbox",
            "INSERT ON inbox.message",
            "INSERT ON inbox.position",
            "UPDATE (version, changed_at) ON inbox.position",
            "INSERT ON inbox.parked",
        ):
            assert f'GRANT {right} TO "{name}"' in remedy
        for grant in remedy.partition(": ")[2].split("; "):
            stage.database.execute(grant.encode())
        stage.database.execute(f'GRANT INSERT ON applied TO "{name}"'.encode())
        assert not statuses(check(stage, database_url=allowed, **settings), "FAIL")


def test_a_module_of_event_handlers_alone_passes_and_needs_no_queue_of_tasks(stage: Stage) -> None:
    queue = stage.isolated.queue("events")
    alone = {"handlers": "tests.integration.consumers.events.handlers"}
    unset = check(stage, **alone)
    assert statuses(unset, "FAIL") == {"events.handlers"}
    before = check(stage, **alone, events_queue=queue)
    assert statuses(before, "WARN") == {"broker.events_queue", "broker.events_dead_letters", "tasks.scheduler"}
    assert stage.command("status", events_queue=queue).ended() == 3, "nobody reads the queue"
    consumer = stage.command("run", **alone, events_queue=queue, prune_every="1")
    consumer.logged("consuming events")
    until(
        lambda: not statuses(check(stage, **alone, events_queue=queue), "WARN"),
        what="the job of the inbox has run",
        seconds=30,
    )
    found = check(stage, **alone, events_queue=queue)
    assert not statuses(found, "FAIL")
    assert found["broker.queue"]["summary"].startswith("no handler for tasks")
    assert stage.command("status", events_queue=queue).ended() == 0
    other = check(stage, **alone, events_queue=queue, events_single_active="false")["broker.events_queue"]
    assert other["status"] == "FAIL"
    assert "x-single-active-consumer is True, not left out" in other["summary"]
    assert consumer.terminate() == 0


def test_the_second_lock_is_asked_for(stage: Stage) -> None:
    assert check(stage, lock="advisory")["second_lock.server"]["status"] == "OK"
    away = check(stage, lock="redis", redis_url="redis://127.0.0.1:1/0")["second_lock.server"]
    assert away["status"] == "WARN"
    assert "handlers run without" in away["summary"]


def test_it_works_as_outbox_consumer(stage: Stage) -> None:
    """Roles belong to the whole server, so the grants of sql/roles.sql go to a role of the test."""
    url = stage.isolated.database_url
    with role(url, "LOGIN", "secret", granted=False) as allowed:
        name = allowed.partition("://")[2].partition(":")[0]
        grants = re.findall(r"^ *GRANT [^;]* TO [^;]*outbox_consumer[^;]*;", ROLES, re.MULTILINE)
        assert len(grants) > 4
        for grant in grants:
            stage.database.execute(re.sub(r"TO [\w, ]*outbox_consumer[\w, ]*", f'TO "{name}"', grant).encode())
        findings = check(stage, database_url=allowed)
        assert not statuses(findings, "FAIL")


def test_a_database_without_the_schema_needs_setup(stage: Stage) -> None:
    stage.database.execute("DROP SCHEMA tasks, outbox CASCADE")
    findings = check(stage)
    assert "postgres.schema" in statuses(findings, "FAIL")
    assert "relay setup" in findings["postgres.schema"]["remedy"]
    assert "consumers setup" in findings["postgres.schema"]["remedy"]
    assert {"postgres.privileges", "tasks.unhandled", "tasks.scheduler"} <= statuses(findings, "UNKNOWN")


def test_a_pooler_is_named_with_what_it_forbids(stage: Stage) -> None:
    with pgbouncer(stage.isolated.database_url) as through:
        findings = check(stage, database_url=through)
    assert not statuses(findings, "FAIL")
    assert "handlers must not use LISTEN" in findings["postgres.pooler"]["summary"]
    assert findings["postgres.sessions"]["status"] == "UNKNOWN"


def test_a_user_who_may_not_declare_the_queues_is_told_the_permissions(stage: Stage, sandbox: Sandbox) -> None:
    assert stage.consume().terminate() == 0
    with user(sandbox.rabbitmq, sandbox.servers.amqp_url, stage.queue.replace(".", "_")) as limited:
        limited.permit(configure="^$", write=".*", read=".*")
        found = check(stage, amqp_url=limited.url)["broker.permissions"]
        assert found["status"] == "FAIL"
        names = f"{re.escape(stage.queue)}|{re.escape(dead_letter_queue(stage.queue))}"
        assert f"'^({names})$'" in found["remedy"]
        limited.permit(
            configure=f"^({names})$", write=f"^({names}|amq\\.default)$", read=f"^({names}|{stage.exchange})$"
        )
        assert check(stage, amqp_url=limited.url)["broker.permissions"]["status"] == "UNKNOWN"
        assert stage.consume(amqp_url=limited.url).terminate() == 0
