"""`consumers dead` as a process, under the rights of outbox_operator alone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from sandbox import Isolated
from tests.support.commands import Command
from tests.support.roles import role

Connection = psycopg.Connection[Any]
Run = Callable[..., Command]
_RIGHTS: tuple[LiteralString, ...] = (
    "GRANT USAGE ON SCHEMA tasks, outbox_setup TO {}",
    "GRANT SELECT ON tasks.task, tasks.history, outbox_setup.applied TO {}",
    "GRANT EXECUTE ON FUNCTION tasks.redrive(uuid[]), tasks.discard(uuid[]) TO {}",
)


@pytest.fixture
def connection(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def run(isolated: Isolated, connection: Connection, tmp_path: Path) -> Iterator[Run]:
    """Run the command as a role that has what sql/roles.sql grants to outbox_operator."""
    with role(isolated.database_url, "LOGIN", "planted", granted=False) as url:
        ((name,),) = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = current_database() || '_role'")
        for right in _RIGHTS:
            connection.execute(SQL(right).format(Identifier(name)))

        def run(*arguments: str) -> Command:
            settings = {"CONSUMERS_DATABASE_URL": url, "CONSUMERS_AMQP_URL": isolated.amqp_url}
            command = Command(uuid4().hex, ["consumers", "dead", *arguments], settings, tmp_path)
            command.ended()
            return command

        yield run


def die(connection: Connection, type_: str, reason: str, *, ago: str = "0 s") -> UUID:
    """Make a dead task, as if it had died so long ago."""
    ((task_id,),) = connection.execute("SELECT tasks.submit(%s, '{\"n\": 1}', max_attempts => 1)", [type_]).fetchall()
    for change in (
        "status = 'running', attempts = 1, claimed_by = 'w', lease_until = now()",
        "status = 'failed', claimed_by = NULL, lease_until = NULL, last_error = %(reason)s",
        "status = 'dead'",
    ):
        connection.execute(
            f"UPDATE tasks.task SET version = version + 1, {change} WHERE id = %(id)s".encode(),  # noqa: S608 - constants
            {"id": task_id, "reason": reason},
        )
    if ago != "0 s":
        with connection.transaction():
            connection.execute("ALTER TABLE tasks.task DISABLE TRIGGER USER")
            connection.execute(
                "UPDATE tasks.task SET updated_at = updated_at - %s::interval WHERE id = %s", [ago, task_id]
            )
            connection.execute("ALTER TABLE tasks.task ENABLE TRIGGER USER")
    return UUID(str(task_id))


def states(connection: Connection) -> dict[UUID, tuple[str, int, int]]:
    rows = connection.execute("SELECT id, status, version, attempts FROM tasks.task").fetchall()
    return {task_id: (status, version, attempts) for task_id, status, version, attempts in rows}


def listed(command: Command) -> list[str]:
    assert command.process.returncode == 0, command.stderr
    return [each["id"] for each in json.loads(command.stdout)["tasks"]]


def test_dead_tasks_are_listed_with_totals_and_filters_and_the_list_is_bounded(
    connection: Connection, run: Run
) -> None:
    assert run("list").stdout == "no task is dead\n"
    old = die(connection, "mail", "SMTPError: 550 no such user", ago="3 days")
    new = die(connection, "mail", "SMTPError: 421 too many\nTraceback\x1b[31m")
    other = die(connection, "report", "100% of_it failed")
    connection.execute("SELECT tasks.submit('mail')")
    everything = json.loads(run("list", "--json").stdout)
    assert [each["id"] for each in everything["tasks"]] == [str(old), str(new), str(other)]
    assert (everything["count"], everything["more"]) == (3, 0)
    assert sorted((each["type"], each["reason"], each["tasks"]) for each in everything["totals"]) == [
        ("mail", "SMTPError: 421 too many", 1),
        ("mail", "SMTPError: 550 no such user", 1),
        ("report", "100% of_it failed", 1),
    ]
    assert listed(run("list", "--json", "--type", "report")) == [str(other)]
    assert listed(run("list", "--json", "--reason", "smtperror: * no such")) == [str(old)]
    assert listed(run("list", "--json", "--reason", "100% of_it")) == [str(other)]
    assert listed(run("list", "--json", "--reason", "1000")) == listed(run("list", "--json", "--reason", "ofXit")) == []
    assert listed(run("list", "--json", "--older", "2d")) == [str(old)]
    assert listed(run("list", "--json", "--since", "2d")) == [str(new), str(other)]
    assert listed(run("list", "--json", str(new))) == [str(new)]
    table = run("list", "--limit", "1")
    assert "3 tasks, 2 more than listed" in table.stdout
    assert "\x1b" not in table.stdout
    assert run("list", "--type", "none").stdout == "no dead task matches\n"
    wrong = run("list", "--older", "soon")
    assert (wrong.process.returncode, "is no duration" in wrong.stderr) == (2, True)


def test_one_task_is_shown_with_payload_errors_and_history(connection: Connection, run: Run) -> None:
    dead = die(connection, "mail", "SMTPError: 550\nTraceback")
    shown = json.loads(run("show", str(dead), "--json").stdout)
    assert (shown["status"], shown["payload"], shown["last_error"]) == ("dead", {"n": 1}, "SMTPError: 550\nTraceback")
    assert [step["to_status"] for step in shown["history"]] == ["pending", "running", "failed", "dead"]
    assert "SMTPError: 550" in run("show", str(dead)).stdout
    ((large,),) = connection.execute("SELECT tasks.submit('t', jsonb_build_object('x', repeat('y', 9000)))").fetchall()
    assert "more characters)" in json.loads(run("show", str(large), "--json").stdout)["payload"]
    assert len(json.loads(run("show", str(large), "--json", "--whole").stdout)["payload"]["x"]) == 9000
    missing = run("show", str(uuid4()))
    assert missing.process.returncode == 1
    assert "there is no task" in missing.stderr


def test_a_redriven_task_is_pending_with_no_attempts_and_announced_and_the_command_may_be_repeated(
    connection: Connection, run: Run
) -> None:
    mail, report = die(connection, "mail", "a"), die(connection, "report", "b")
    refused = run("redrive")
    assert (refused.process.returncode, "--all" in refused.stderr) == (2, True)
    dry = run("redrive", "--type", "mail", "--dry-run")
    assert "1 task would be redriven" in dry.stdout
    asked = run("redrive", "--type", "mail")
    assert (asked.process.returncode, "Redrive 1 task (1 mail)?" in asked.stdout) == (1, True)
    assert states(connection)[mail] == ("dead", 4, 1)
    done = run("redrive", "--type", "mail", "--yes", "--json")
    assert json.loads(done.stdout) == {"dry_run": False, "matched": 1, "redriven": 1}
    assert states(connection) == {mail: ("pending", 5, 0), report: ("dead", 4, 1)}
    announced = connection.execute(
        "SELECT aggregate_version FROM outbox.event WHERE aggregate_id = %s::text ORDER BY seq", [mail]
    ).fetchall()
    assert announced == [(1,), (5,)]
    again = run("redrive", str(mail), "--yes")
    assert (again.process.returncode, again.stdout) == (0, "0 tasks redriven\n")
    assert run("redrive", "--all", "--yes").stdout == "1 task redriven\n"
    unknown = run("redrive", str(uuid4()), "--yes")
    assert (unknown.process.returncode, "there is no such task" in unknown.stderr) == (1, True)


def test_discarded_tasks_are_gone_and_recorded_and_others_are_not_touched(connection: Connection, run: Run) -> None:
    dead, kept = die(connection, "mail", "never"), die(connection, "mail", "other")
    ((alive,),) = connection.execute("SELECT tasks.submit('mail')").fetchall()
    assert "1 task would be discarded" in run("discard", "--reason", "never", "--dry-run").stdout
    assert run("discard", "--reason", "never").process.returncode == 1
    assert run("discard", "--reason", "never", "--yes").stdout == "1 task discarded\n"
    assert set(states(connection)) == {kept, alive}
    assert connection.execute(
        "SELECT task_id, type, version, attempts, last_error FROM tasks.discarded"
    ).fetchall() == [(dead, "mail", 4, 1, "never")]
    assert run("discard", str(dead), "--yes").process.returncode == 0, "as it was wished"
    refused = run("discard", str(alive), "--yes")
    assert (refused.process.returncode, f"{alive} is pending" in refused.stderr) == (1, True)


def test_many_are_redriven_by_batches_also_by_two_operators_at_once(
    isolated: Isolated, connection: Connection, run: Run, tmp_path: Path
) -> None:
    connection.execute("ALTER TABLE tasks.task DISABLE TRIGGER USER")
    connection.execute(
        "INSERT INTO tasks.task (type, status, attempts, version)"
        " SELECT 't', 'dead', 5, 9 FROM generate_series(1, 1700)"
    )
    connection.execute("ALTER TABLE tasks.task ENABLE TRIGGER USER")
    settings = {"CONSUMERS_DATABASE_URL": isolated.database_url, "CONSUMERS_AMQP_URL": isolated.amqp_url}
    arguments = ["consumers", "dead", "redrive", "--all", "--yes", "--json"]
    both = [Command(f"operator-{number}", arguments, settings, tmp_path) for number in range(2)]
    assert [each.ended() for each in both] == [0, 0], [each.stderr for each in both]
    assert sum(json.loads(each.stdout)["redriven"] for each in both) == 1700
    assert set(states(connection).values()) == {("pending", 10, 0)}
    assert connection.execute("SELECT count(*), count(DISTINCT aggregate_id) FROM outbox.event").fetchall() == [
        (1700, 1700)
    ]
    assert json.loads(run("list", "--json").stdout)["count"] == 0


def test_without_the_rights_the_remedy_is_said(isolated: Isolated, connection: Connection, tmp_path: Path) -> None:
    die(connection, "t", "a")
    with role(isolated.database_url, "LOGIN", "planted", granted=False) as url:
        settings = {"CONSUMERS_DATABASE_URL": url, "CONSUMERS_AMQP_URL": isolated.amqp_url}
        command = Command("operator", ["consumers", "dead", "list"], settings, tmp_path)
        assert command.ended() == 1
    assert "use a member of outbox_operator" in command.stderr
    assert command.stderr.count("\n") == 1
