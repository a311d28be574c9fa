"""What outbox_operator may do with tasks: what its commands do, and nothing beside it."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.integration.schema.sites import Site
from tests.support.commands import Command


def command(site: Site, directory: Path, *arguments: str) -> Command:
    settings = {
        "CONSUMERS_DATABASE_URL": site.urls["operator"],
        "CONSUMERS_AMQP_URL": site.isolated.amqp_url,
        "CONSUMERS_QUEUE": site.isolated.queue("tasks"),
    }
    made = Command("-".join(["consumers", *arguments[:2]]), ["consumers", *arguments], settings, directory)
    made.ended()
    return made


def test_an_operator_redrives_and_discards_dead_tasks_and_can_change_no_other(site: Site, tmp_path: Path) -> None:
    with psycopg.connect(site.isolated.database_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE tasks.task DISABLE TRIGGER USER")
        owner.execute("INSERT INTO tasks.task (type, status, version) VALUES ('a', 'dead', 4), ('b', 'dead', 4)")
        owner.execute("ALTER TABLE tasks.task ENABLE TRIGGER USER")
        assert json.loads(command(site, tmp_path, "dead", "list", "--json").stdout)["count"] == 2
        assert command(site, tmp_path, "dead", "redrive", "--type", "a", "--yes").stdout == "1 task redriven\n"
        assert command(site, tmp_path, "dead", "discard", "--all", "--yes").stdout == "1 task discarded\n"
        ((task_id,),) = owner.execute("SELECT id FROM tasks.task").fetchall()
        by_whom = owner.execute("SELECT by_whom FROM tasks.history WHERE to_status = 'pending'").fetchall()
        assert by_whom == [("operator",)]
        assert owner.execute("SELECT discarded_by FROM tasks.discarded").fetchall() == [("operator",)]
    shown = command(site, tmp_path, "dead", "show", str(task_id), "--json")
    assert json.loads(shown.stdout)["status"] == "pending"
    status = command(site, tmp_path, "status", "--json")
    assert json.loads(status.stdout)["tasks"] == {"pending": 1}, status.stderr
    with psycopg.connect(site.urls["operator"], autocommit=True) as operator:
        for statement in (
            "UPDATE tasks.task SET status = 'cancelled', version = version + 1",
            "DELETE FROM tasks.task",
            "SELECT tasks.announce_again('1 s', 1)",
            "SELECT tasks.send_probe('1 s')",
            "INSERT INTO tasks.discarded DEFAULT VALUES",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                operator.execute(statement.encode())


def test_an_operator_releases_locks_sees_the_states_and_cancels(site: Site, tmp_path: Path) -> None:
    with psycopg.connect(site.isolated.database_url, autocommit=True) as owner:
        owner.execute("SELECT tasks.acquire_lock('report', '1 h', 'node-1')")
        ((task_id,),) = owner.execute("SELECT tasks.submit('t')").fetchall()
    assert "node-1" in command(site, tmp_path, "locks").stdout
    released = command(site, tmp_path, "locks", "release", "report", "--yes")
    assert released.stdout.startswith("released: lock 'report'"), released.stderr
    states = command(site, tmp_path, "states", "--json")
    assert len(json.loads(states.stdout)) > 10, states.stderr
    with psycopg.connect(site.urls["operator"], autocommit=True) as operator:
        operator.execute("SELECT tasks.reschedule(%s, now() + interval '1 h')", [task_id])
        assert operator.execute("SELECT tasks.cancel(%s)", [task_id]).fetchall() == [("cancelled",)]


def test_whoever_lacks_a_right_is_told_so_at_once(site: Site, tmp_path: Path) -> None:
    site.urls["operator"] = site.urls["application"]
    for arguments in (("locks",), ("states",), ("status",), ("events", "parked", "list")):
        refused = command(site, tmp_path, *arguments)
        assert refused.process.returncode == 1
        assert "use a member of outbox_operator" in refused.stderr


def test_a_consumer_announces_again_under_its_own_rights_and_a_writer_may_not(site: Site) -> None:
    with psycopg.connect(site.urls["application"], autocommit=True) as writer:
        writer.execute("SELECT tasks.submit('t')")
        for statement in ("SELECT tasks.send_probe('0 s')", "SELECT tasks.redrive('{}')", "SELECT tasks.discard('{}')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                writer.execute(statement.encode())
    with psycopg.connect(site.urls["outbox_consumer"], autocommit=True) as consumer:
        ((probe,),) = consumer.execute("SELECT tasks.send_probe('0 s')").fetchall()
        assert consumer.execute("SELECT tasks.probes_arrived(ARRAY[%s::uuid])", [probe]).fetchall() == [(1,)]
        assert len(consumer.execute("SELECT * FROM tasks.announce_again('0 s', 10)").fetchall()) == 1
