"""sql/roles.sql and the permissions of docs/operations.md: everything works with exactly these, and with none less.

Roles belong to the whole server: the ones made here are dropped again, and a server that has them is left alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from sandbox import Sandbox
from sandbox.machine.waiting import until
from tests.integration.relay.stage import call, one, publish, staged, streams
from tests.integration.schema.sites import NAMES, ROLES, Site, drop_roles, log_in
from tests.support.stage import Stage
from tests.support.tap import Tap
from tests.support.users import user


@pytest.fixture
def stage(site: Site, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage for processes; they end before the roles are dropped."""
    with staged(site.isolated, tmp_path) as stage:
        yield stage


def test_everything_works_under_exactly_these_rights(site: Site, stage: Stage, sandbox: Sandbox) -> None:
    exchange, queue = stage.isolated.name, stage.queue
    dotted = queue.replace(".", "[.]")
    with (
        user(sandbox.rabbitmq, sandbox.servers.amqp_url, f"{exchange}_relay") as relays,
        user(sandbox.rabbitmq, sandbox.servers.amqp_url, f"{exchange}_consumers") as consumers,
    ):
        relays.permit(configure="^$", write=f"^{exchange}$", read="^$")
        consumers.permit(
            configure=f"^{dotted}([.]dead)?$",
            write=f"^({dotted}([.]dead)?|amq[.]default)$",
            read=f"^({dotted}|{exchange})$",
        )
        site.administer("GRANT INSERT ON effect TO outbox_consumer")  # the test handler's own table
        mine = {"RELAY_DATABASE_URL": site.urls["outbox_relay"], "RELAY_AMQP_URL": relays.url}
        relay = stage.start("relay", "run", RELAY_AUDIT_EVERY="1s", **mine)
        relay.streams()
        stage.consumers(1, CONSUMERS_DATABASE_URL=site.urls["outbox_consumer"], CONSUMERS_AMQP_URL=consumers.url)
        stage.settings["WRITERS_DATABASE_URL"] = site.urls["application"]
        assert stage.submit("--count", "20").ended() == 0
        stage.applied(20)
        own: LiteralString = (
            "SELECT count(*) FROM tasks.lock WHERE starts_with(name, 'consumers.') AND ended_at IS NOT NULL"
        )
        until(lambda: one(site.isolated.database_url, own) == 5, what="each job of the consumers ran", seconds=30)

        publish(site.urls["application"], "nobody takes it")
        relay.logged("events parked")
        for role in ("outbox_relay", "auditor"):
            status = site.call(role, "status", "--json").json
            assert (status["mode"], status["parked"]) == ("wal", 1)

        for role in ("outbox_relay", "auditor", "operator"):
            audit = site.call(role, "audit", "--json").json
            assert audit["verdict"] == "clean"
            assert not [note for note in audit["notes"] if "not judged" in note and role != "outbox_relay"]
        assert not [line for line in relay.log if line["event"] == "not stored"]

        findings = call(site.variables("outbox_relay", RELAY_AMQP_URL=relays.url), "check", "--json").json
        assert findings["ok"], [each for each in findings["checks"] if each["status"] == "FAIL"]
        not_ok = {each["id"]: each["status"] for each in findings["checks"] if each["status"] != "OK"}
        queues = {f"queue.{each}": "UNKNOWN" for each in ("type", "dead_letters", "delivery_limit")}
        assert not_ok == {"postgres.slot_wal_limit": "WARN", "broker.mandatory": "UNKNOWN", **queues}

        tap = Tap(stage.isolated.amqp_url, queue=stage.isolated.queue("tap"), exchange=exchange)
        assert site.call("operator", "parked", "redrive", "--all").code == 0
        tap.grows(0)
        assert relay.terminate() == 0, relay.tail()

        relays.permit(configure="^$", write="^$", read="^$")
        findings = call(site.variables("outbox_relay", RELAY_AMQP_URL=relays.url), "check", "--json").json
        assert [each["id"] for each in findings["checks"] if each["status"] == "FAIL"] == ["broker.publish"]


def test_events_are_redriven_when_others_may_not_write_logical_messages(site: Site, stage: Stage) -> None:
    """A fence is a logical message, and the relay's alone; a redrive is asked for in its row."""
    for (function,) in stage.query(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'pg_logical_emit_message'"
    ):
        for statement in ("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC", "GRANT EXECUTE ON FUNCTION {} TO outbox_relay"):
            with psycopg.connect(site.isolated.database_url, autocommit=True) as connection:
                connection.execute(statement.format(function).encode())
    relay = stage.start("relay", "run", RELAY_DATABASE_URL=site.urls["outbox_relay"])
    (event,) = publish(site.urls["application"], "nobody takes it")
    relay.logged("events parked")
    tap = Tap(stage.isolated.amqp_url, queue=stage.isolated.queue("tap"), exchange=stage.isolated.name)
    assert site.call("operator", "parked", "redrive", event).code == 0
    tap.grows(0)
    with (
        psycopg.connect(site.urls["application"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT pg_logical_emit_message(true, 'relay.fence', '{}')")
    assert relay.terminate() == 0


def test_setup_needs_only_the_permission_to_configure_the_exchange(site: Site, sandbox: Sandbox) -> None:
    with user(sandbox.rabbitmq, sandbox.servers.amqp_url, f"{site.isolated.name}_setup") as setup:
        setup.permit(configure=f"^{site.isolated.name}$", write="^$", read="^$")
        said = call(site.variables("outbox_owner", RELAY_AMQP_URL=setup.url), "setup")
    assert said.code == 0, said.output


def test_a_topology_needs_the_permissions_on_its_exchange_and_queues_and_its_consumers_those_on_queues(
    site: Site, stage: Stage, sandbox: Sandbox
) -> None:
    name = site.isolated.name
    site.isolated.exchange("hash-2")
    queue, _ = site.isolated.queue("hash-2-0"), site.isolated.queue("hash-2-1")
    with (
        user(sandbox.rabbitmq, sandbox.servers.amqp_url, f"{name}_topology") as setup,
        user(sandbox.rabbitmq, sandbox.servers.amqp_url, f"{name}_events") as consumers,
    ):
        setup.permit(
            configure=f"^{name}([.](hash|stream)-.*)?$",
            write=f"^({name}[.](hash|stream)-.*|amq[.]default)$",
            read=f"^{name}([.](hash|stream)-.*)?$",
        )
        variables = site.variables("outbox_owner", RELAY_AMQP_URL=setup.url)
        said = call(variables, "setup", "--topology", "hash:2")
        assert said.code == 0, said.output
        consumers.permit(configure=f"^{name}[.]hash-.*$", write="^amq[.]default$", read=f"^{name}[.]hash-.*$")
        reader = stage.start(
            "consumers", "run",
            CONSUMERS_DATABASE_URL=site.urls["outbox_consumer"], CONSUMERS_AMQP_URL=consumers.url,
            CONSUMERS_EVENTS_QUEUE=queue, CONSUMERS_EVENTS_BIND="false", CONSUMERS_HANDLERS="consumers.events.examples",
        )  # fmt: skip
        reader.logged("consuming events")
        assert reader.terminate() == 0


def test_the_slots_commands_work_as_the_relay(site: Site) -> None:
    streams(site.isolated)
    events = publish(site.urls["application"], "a")
    listed = site.call("outbox_relay", "slot", "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == events
    assert site.call("outbox_relay", "tail", "--count", "1").code == 0
    to = listed["transactions"][-1]["end_lsn"]
    assert site.call("outbox_relay", "slot", "skip", "--to", to, "--yes").code == 0
    assert site.call("outbox_relay", "status", "--json").json["parked"] == 1
    assert site.call("outbox_relay", "slot", "drop", "--yes").code == 0


def test_an_operator_who_may_read_no_event_asks_for_polling(site: Site) -> None:
    site.call("operator", "switch", "--to", "polling", "--timeout", "0")
    assert one(site.isolated.database_url, "SELECT wanted FROM relay.checkpoint") == "polling"


REMOVED: tuple[tuple[LiteralString, str], ...] = (
    ("REVOKE USAGE ON SCHEMA relay FROM outbox_relay", "USAGE on relay (to store the position)"),
    ("REVOKE SELECT ON relay.checkpoint FROM outbox_relay", "SELECT on relay.checkpoint"),
    ("REVOKE INSERT ON relay.checkpoint FROM outbox_relay", "INSERT on relay.checkpoint"),
    ("REVOKE UPDATE ON relay.checkpoint FROM outbox_relay", "UPDATE on relay.checkpoint"),
    ("REVOKE SELECT ON relay.parked FROM outbox_relay", "SELECT on relay.parked"),
    ("REVOKE INSERT ON relay.parked FROM outbox_relay", "INSERT on relay.parked"),
    ("REVOKE UPDATE ON relay.parked FROM outbox_relay", "UPDATE on relay.parked"),
    ("REVOKE SELECT ON relay.confirmed FROM outbox_relay", "SELECT on relay.confirmed"),
    ("REVOKE INSERT ON relay.confirmed FROM outbox_relay", "INSERT on relay.confirmed"),
    ("REVOKE DELETE ON relay.confirmed FROM outbox_relay", "DELETE on relay.confirmed"),
    ("REVOKE SELECT ON relay.checkpoint_history FROM outbox_relay", "SELECT on relay.checkpoint_history"),
    ("REVOKE INSERT ON relay.checkpoint_history FROM outbox_relay", "INSERT on relay.checkpoint_history"),
    ("REVOKE DELETE ON relay.checkpoint_history FROM outbox_relay", "DELETE on relay.checkpoint_history"),
    ("REVOKE USAGE ON SCHEMA outbox FROM outbox_relay", "USAGE on outbox"),
    (
        "REVOKE EXECUTE ON FUNCTION outbox.create_partitions(integer) FROM outbox_relay",
        "EXECUTE on outbox.create_partitions(integer)",
    ),
    ("REVOKE SELECT ON outbox.event FROM outbox_relay", "SELECT on outbox.event"),
    ("REVOKE USAGE ON SCHEMA outbox_setup FROM PUBLIC", "USAGE on outbox_setup"),
    ("REVOKE SELECT ON outbox_setup.applied FROM PUBLIC", "SELECT on outbox_setup.applied"),
)


def test_check_reports_each_missing_grant(site: Site) -> None:
    for statement, privilege in REMOVED:
        site.administer(statement)
        summary = site.missing().get("role.privileges", "")
        assert summary.startswith(f"role outbox_relay lacks {privilege}"), statement
        assert summary.count(" (to ") == 1, statement
        site.administer(ROLES)
    assert not site.missing()
    site.administer("ALTER ROLE outbox_relay NOREPLICATION")
    findings = {each["id"]: each for each in site.call("outbox_relay", "check", "--json").json["checks"]}
    assert not [name for name, each in findings.items() if each["status"] == "FAIL"], "it polls meanwhile"
    warned = [findings[name] for name in ("role.replication", "postgres.replication")]
    assert {each["status"] for each in warned} == {"WARN"}
    again: LiteralString = 'ALTER ROLE "outbox_relay" REPLICATION'
    assert all(f"as a superuser: {again}" in each["remedy"] for each in warned)
    site.administer(again)
    assert not site.missing()


def test_the_role_file_grants_exactly_what_check_asks_for(site: Site) -> None:
    """So the table above is complete: it has every statement of the role file, and check asks for each."""
    findings = site.call("outbox_relay", "check", "--json").json["checks"]
    (privileges,) = (each for each in findings if each["id"] == "role.privileges")
    assert privileges["summary"] == f"outbox_relay has the {len(REMOVED)} privileges that it needs"
    (excess,) = (each for each in findings if each["id"] == "role.excess")
    assert excess["status"] == "OK"


GIVEN: tuple[tuple[LiteralString, LiteralString, str], ...] = (
    (
        "GRANT DELETE ON outbox.event TO outbox_relay",
        "REVOKE DELETE ON outbox.event FROM outbox_relay",
        "DELETE on outbox.event",
    ),
    (
        "GRANT UPDATE ON outbox.event TO outbox_relay",
        "REVOKE UPDATE ON outbox.event FROM outbox_relay",
        "UPDATE on outbox.event",
    ),
    (
        "GRANT TRUNCATE ON relay.parked TO outbox_relay",
        "REVOKE TRUNCATE ON relay.parked FROM outbox_relay",
        "TRUNCATE on relay.parked",
    ),
    (
        "GRANT CREATE ON SCHEMA relay TO outbox_relay",
        "REVOKE CREATE ON SCHEMA relay FROM outbox_relay",
        "CREATE on schema relay",
    ),
    (
        "GRANT pg_read_server_files TO outbox_relay",
        "REVOKE pg_read_server_files FROM outbox_relay",
        "membership in pg_read_server_files",
    ),
    ("ALTER ROLE outbox_relay CREATEROLE", "ALTER ROLE outbox_relay NOCREATEROLE", "CREATEROLE"),
)


def test_check_reports_each_excess_right(site: Site) -> None:
    for give, take, privilege in GIVEN:
        site.administer(give)
        findings = site.call("outbox_relay", "check", "--json").json["checks"]
        (excess,) = (each for each in findings if each["id"] == "role.excess")
        assert excess["status"] == "WARN", give
        assert excess["facts"]["excess"] == [privilege], give
        site.administer(take)


CHOOSES_ITS_TX: LiteralString = (
    "INSERT INTO outbox.event (tx, aggregate_type, aggregate_id, aggregate_version, event_type, payload)"
    " VALUES ('1', 'order', '42', 7, 'paid', '{}')"
)


def test_no_role_may_do_what_is_not_its_task(site: Site) -> None:
    forbidden: tuple[tuple[str, LiteralString], ...] = (
        ("outbox_relay", "DELETE FROM outbox.event"),
        ("outbox_relay", "INSERT INTO outbox.event DEFAULT VALUES"),
        ("outbox_relay", "SELECT FROM tasks.task"),
        ("outbox_relay", "DELETE FROM relay.parked"),
        ("application", "SELECT FROM outbox.event"),
        *((writer, CHOOSES_ITS_TX) for writer in ("application", "outbox_consumer", "operator")),
        ("application", "UPDATE tasks.task SET status = 'completed'"),
        ("application", "SELECT outbox.create_partitions()"),
        ("application", "SELECT FROM relay.checkpoint"),
        ("application", "SELECT FROM tasks.acquire_lock('mine', '1 s')"),
        ("application", "SELECT FROM tasks.free_lock('mine')"),
        ("application", "SELECT tasks.prune_tasks('0')"),
        ("outbox_consumer", "UPDATE tasks.lock SET locked_until = clock_timestamp()"),
        ("outbox_consumer", "SELECT nextval('tasks.lock_epoch')"),
        ("auditor", "SELECT tasks.release_lock('mine', 1)"),
        ("outbox_consumer", "DELETE FROM tasks.task"),
        ("outbox_consumer", "INSERT INTO tasks.transition VALUES ('dead', 'running', 'no')"),
        ("outbox_consumer", "SELECT FROM relay.parked"),
        ("operator", "DELETE FROM relay.parked"),
        ("operator", "INSERT INTO outbox.event DEFAULT VALUES"),
        ("operator", "SELECT pg_create_logical_replication_slot('mine', 'wal2json')"),
        ("auditor", "UPDATE relay.checkpoint SET lsn = '0/1'"),
        ("auditor", "INSERT INTO outbox.event DEFAULT VALUES"),
    )
    for role, statement in forbidden:
        with (
            psycopg.connect(site.urls[role]) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


def test_the_role_file_takes_back_the_insert_into_every_column_that_it_once_gave(site: Site) -> None:
    site.administer("GRANT INSERT ON outbox.event TO outbox_writer")
    site.administer(ROLES)
    with psycopg.connect(site.urls["application"]) as connection:
        connection.execute("SELECT outbox.publish('order', '42', 7, 'paid', '{}')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(CHOOSES_ITS_TX)


def test_the_role_file_leaves_a_higher_limit_of_sessions_and_raises_a_lower_one(site: Site) -> None:
    limit: LiteralString = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'outbox_relay'"
    limits: tuple[tuple[LiteralString, int], ...] = (("40", 40), ("10", 20), ("-1", 20))
    for given, expected in limits:
        site.administer("ALTER ROLE outbox_relay CONNECTION LIMIT " + given)
        site.administer(ROLES)
        assert one(site.isolated.database_url, limit) == expected


def test_replication_opens_the_wal_of_the_whole_cluster(site: Site) -> None:
    """Why replication has its own role: it reads from the WAL what no grant lets it read."""
    with psycopg.connect(site.isolated.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.salary (amount integer)")
    with psycopg.connect(site.urls["outbox_relay"], autocommit=True) as relay:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            relay.execute("SELECT FROM public.salary")
        relay.execute("SELECT FROM pg_create_logical_replication_slot('spy', 'test_decoding', true)")
        with psycopg.connect(site.isolated.database_url) as connection:
            connection.execute("INSERT INTO public.salary VALUES (4711)")
        seen = relay.execute("SELECT data FROM pg_logical_slot_get_changes('spy', NULL, NULL)").fetchall()
    assert any("4711" in row[0] for row in seen)


def test_one_role_that_may_create_schemas_and_stream_does_all_of_it(bare: Site, tmp_path: Path) -> None:
    """The README's path, as it stands there."""
    name = f"{bare.isolated.name}_relay"
    with psycopg.connect(bare.isolated.database_url, autocommit=True) as connection:
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        connection.execute(SQL("CREATE ROLE {} LOGIN REPLICATION").format(Identifier(name)))
        grant = SQL("GRANT CREATE ON DATABASE {} TO {}")
        connection.execute(grant.format(Identifier(connection.info.dbname), Identifier(name)))
        url = log_in(connection, bare.isolated.database_url, name)
    try:
        with staged(bare.isolated, tmp_path) as stage:
            stage.settings["RELAY_DATABASE_URL"] = url
            for arguments in (["setup", "--dry-run"], ["setup"], ["setup"], ["check"]):
                command = stage.run("relay", *arguments)
                assert command.process.returncode == 0, (arguments, command.stdout, command.tail())
            stage.start("relay", "run").streams()
            assert stage.run("relay", "status").process.returncode == 0
    finally:
        drop_roles(bare, name)


@pytest.fixture
def administrator(bare: Site) -> Iterator[str]:
    """Yield the URL of a role as a managed server gives it: CREATEROLE, the database's owner, and no superuser."""
    name = f"{bare.isolated.name}_admin"
    with psycopg.connect(bare.isolated.database_url, autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB").format(Identifier(name)))
        database = Identifier(connection.info.dbname)
        connection.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(database, Identifier(name)))
        yield log_in(connection, bare.isolated.database_url, name)
        connection.execute(SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(database))
    drop_roles(bare, *NAMES)
    drop_roles(bare, name)


def _run_roles(url: str) -> list[str]:
    """Run the role file, as psql does; return the hints of its warnings."""
    hints: list[str] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: hints.append(notice.message_hint or ""))
        connection.execute(ROLES)
    return [hint for hint in hints if hint]


def test_a_managed_servers_administrator_makes_the_roles_and_is_told_what_a_superuser_must_do(
    bare: Site, administrator: str
) -> None:
    hints = _run_roles(administrator)
    statements = [match.group() for hint in hints if (match := re.search(r"ALTER ROLE \w+ REPLICATION", hint))]
    assert statements == ["ALTER ROLE outbox_owner REPLICATION", "ALTER ROLE outbox_relay REPLICATION"]
    with psycopg.connect(bare.isolated.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        for role in ("outbox_owner", "outbox_relay"):
            bare.urls[role] = log_in(connection, bare.isolated.database_url, role)
    setup = bare.call("outbox_owner", "setup")
    assert setup.code == 0, setup.output
    assert _run_roles(administrator) == []
    assert bare.missing() == {}
    with psycopg.connect(administrator) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT FROM outbox.event")  # it is no longer a member of outbox_owner


def test_where_the_server_has_a_role_for_replication_that_one_is_granted(bare: Site, administrator: str) -> None:
    with psycopg.connect(bare.isolated.database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE rds_replication")
        try:
            connection.execute(f"GRANT rds_replication TO {bare.isolated.name}_admin WITH ADMIN OPTION".encode())
            assert _run_roles(administrator) == []
            members = "SELECT pg_has_role(name, 'rds_replication', 'USAGE') FROM unnest(%s::text[]) AS name"
            roles = ["outbox_owner", "outbox_relay", "outbox_writer"]
            assert connection.execute(members, [roles]).fetchall() == [(True,), (True,), (False,)]
        finally:
            connection.execute("DROP ROLE rds_replication")
