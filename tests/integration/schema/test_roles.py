"""sql/roles.sql and the permissions of docs/operations.md: everything works with exactly these, and with none less.

Roles belong to the whole server: the ones made here are dropped again, and a server that has them is left alone.
"""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from sandbox import Isolated, Sandbox
from tests.integration.relay.stage import Said, call, environment, publish, staged
from tests.support.commands import ROOT
from tests.support.stage import Stage
from tests.support.tap import Tap
from tests.support.urls import login
from tests.support.users import user

ROLES: LiteralString = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
NAMES = ("outbox_owner", "outbox_relay", "outbox_operator", "outbox_writer", "outbox_consumer", "outbox_auditor")
PEOPLE = {"operator": "outbox_operator", "application": "outbox_writer", "auditor": "outbox_auditor"}


@dataclass
class Site:
    """A database where `relay setup` has run as the owner, and a URL for each role."""

    isolated: Isolated
    urls: dict[str, str]

    def administer(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.isolated.database_url, autocommit=True) as connection:
            connection.execute(SQL(statement).format(*map(Identifier, names)))

    def variables(self, role: str, **changes: str) -> dict[str, str]:
        return environment(self.isolated, RELAY_DATABASE_URL=self.urls[role], **changes)

    def call(self, role: str, *arguments: str) -> Said:
        return call(self.variables(role), *arguments)

    def missing(self) -> dict[str, str]:
        """Return the summaries of the checks that FAIL for the relay's role, by id."""
        findings = self.call("outbox_relay", "check", "--json").json["checks"]
        return {each["id"]: each["summary"] for each in findings if each["status"] == "FAIL"}


@pytest.fixture
def site(isolated: Isolated) -> Iterator[Site]:
    """Run the role file before and after setup, as docs/operations.md says."""
    site = Site(isolated, {})
    with ExitStack() as stack:
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            query = "SELECT count(*) FROM pg_roles WHERE rolname = ANY(%s)"
            assert connection.execute(query, [list(NAMES)]).fetchone() == (0,), "this server has these roles already"
            connection.execute("DROP SCHEMA relay, outbox, tasks CASCADE")
            connection.execute("DROP TABLE public.outbox_relay_schema")
            stack.callback(_drop_roles, site, *NAMES)
            connection.execute(ROLES)
            for role in ("outbox_owner", "outbox_relay", "outbox_consumer"):
                site.urls[role] = _log_in(connection, isolated.database_url, role)
            setup = site.call("outbox_owner", "setup")
            assert setup.code == 0, setup.output
            connection.execute(ROLES)
            for person, group in PEOPLE.items():
                connection.execute(SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(Identifier(person), Identifier(group)))
                stack.callback(_drop_roles, site, person)
                site.urls[person] = _log_in(connection, isolated.database_url, person)
        yield site


@pytest.fixture
def stage(site: Site, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage for processes; they end before the roles are dropped."""
    with staged(site.isolated, tmp_path) as stage:
        yield stage


def _log_in(connection: psycopg.Connection[tuple[object, ...]], database_url: str, role: str) -> str:
    password = secrets.token_hex(8)
    connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(password)))
    return login(database_url, role, password)


def _drop_roles(site: Site, *names: str) -> None:
    for name in names:
        site.administer("DROP OWNED BY {} CASCADE", name)
        site.administer("DROP ROLE {}", name)


def test_everything_works_under_exactly_these_rights(site: Site, stage: Stage, sandbox: Sandbox) -> None:
    exchange, queue = stage.isolated.name, stage.queue
    dotted = queue.replace(".", "[.]")
    with user(sandbox, f"{exchange}_relay") as relays, user(sandbox, f"{exchange}_consumers") as consumers:
        relays.permit(configure="^$", write=f"^{exchange}$", read="^$")
        consumers.permit(
            configure=f"^{dotted}([.]dead)?$",
            write=f"^({dotted}([.]dead)?|amq[.]default)$",
            read=f"^({dotted}|{exchange})$",
        )
        site.administer("GRANT INSERT ON effect TO outbox_consumer")  # the test handler's own table
        mine = {"RELAY_DATABASE_URL": site.urls["outbox_relay"], "RELAY_AMQP_URL": relays.url}
        relay = stage.start("relay", "run", **mine)
        relay.logged("streaming")
        stage.consumers(1, CONSUMERS_DATABASE_URL=site.urls["outbox_consumer"], CONSUMERS_AMQP_URL=consumers.url)
        stage.settings["WRITERS_DATABASE_URL"] = site.urls["application"]
        assert stage.submit("--count", "20").ended() == 0
        stage.applied(20)

        publish(site.urls["application"], "nobody takes it")
        relay.logged("events parked")
        for role in ("outbox_relay", "auditor"):
            status = site.call(role, "status", "--json").json
            assert (status["mode"], status["parked"]) == ("wal", 1)

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


def test_setup_needs_only_the_permission_to_configure_the_exchange(site: Site, sandbox: Sandbox) -> None:
    with user(sandbox, f"{site.isolated.name}_setup") as setup:
        setup.permit(configure=f"^{site.isolated.name}$", write="^$", read="^$")
        said = call(site.variables("outbox_owner", RELAY_AMQP_URL=setup.url), "setup")
    assert said.code == 0, said.output


def test_the_slots_commands_work_as_the_relay(site: Site) -> None:
    events = publish(site.urls["application"], "a")
    listed = site.call("outbox_relay", "slot", "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == events
    assert site.call("outbox_relay", "tail", "--count", "1").code == 0
    to = listed["transactions"][-1]["end_lsn"]
    assert site.call("outbox_relay", "slot", "skip", "--to", to, "--yes").code == 0
    assert site.call("outbox_relay", "status", "--json").json["parked"] == 1
    assert site.call("outbox_relay", "slot", "drop", "--yes").code == 0


REMOVED: tuple[tuple[LiteralString, str], ...] = (
    ("REVOKE USAGE ON SCHEMA relay FROM outbox_relay", "USAGE on relay (to store the position)"),
    ("REVOKE SELECT ON relay.checkpoint FROM outbox_relay", "SELECT on relay.checkpoint"),
    ("REVOKE INSERT ON relay.checkpoint FROM outbox_relay", "INSERT on relay.checkpoint"),
    ("REVOKE UPDATE ON relay.checkpoint FROM outbox_relay", "UPDATE on relay.checkpoint"),
    ("REVOKE SELECT ON relay.parked FROM outbox_relay", "SELECT on relay.parked"),
    ("REVOKE INSERT ON relay.parked FROM outbox_relay", "INSERT on relay.parked"),
    ("REVOKE UPDATE ON relay.parked FROM outbox_relay", "UPDATE on relay.parked"),
    ("REVOKE USAGE ON SCHEMA outbox FROM outbox_relay", "USAGE on outbox"),
    (
        "REVOKE EXECUTE ON FUNCTION outbox.create_partitions(integer) FROM outbox_relay",
        "EXECUTE on outbox.create_partitions(integer)",
    ),
    ("REVOKE SELECT ON outbox.event FROM outbox_relay", "SELECT on outbox.event"),
    ("REVOKE SELECT ON public.outbox_relay_schema FROM outbox_relay", "SELECT on public.outbox_relay_schema"),
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
    failed = {name: each["remedy"] for name, each in findings.items() if each["status"] == "FAIL"}
    remedy = 'as a superuser: ALTER ROLE "outbox_relay" REPLICATION; see sql/roles.sql'
    assert failed == {"role.replication": remedy, "postgres.replication": remedy}


def test_the_role_file_grants_exactly_what_check_asks_for(site: Site) -> None:
    """So the table above is complete: it has every grant of the role file, and check asks for each."""
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
        ("outbox_consumer", "DELETE FROM tasks.task"),
        ("outbox_consumer", "INSERT INTO tasks.transition VALUES ('dead', 'running', 'no')"),
        ("outbox_consumer", "SELECT FROM relay.parked"),
        ("operator", "DELETE FROM relay.parked"),
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
