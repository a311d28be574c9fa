"""`relay run` that cannot start, one test for each reason; refusing.py checks what all of them have in common.

What keeps a relay from the WAL alone is refused with RELAY_SOURCE=wal; otherwise it polls.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.errors import UndefinedObject

from outboxkit.sql import apply as schema
from sandbox import Sandbox
from sandbox.lifetime import private
from sandbox.machine import ports
from sandbox.machine.waiting import until
from sandbox.servers.backend import Extra
from tests.support.refusing import SECRET, mistake, refusal
from tests.support.roles import alter, role
from tests.support.stage import Stage


@pytest.fixture(scope="module")
def ready(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Yield a stage whose relay has streamed, so that it begins with the WAL; each test leaves it unchanged."""
    with sandbox.isolated() as isolated:
        stage = Stage(isolated, tmp_path_factory.mktemp("refuses"))
        stage.set_up()
        relay = stage.start("relay", "run")
        until(lambda: any(line.get("source") == "wal" for line in relay.log), what="it streams", seconds=60)
        assert relay.terminate() == 0, relay.tail()
        yield stage
        stage.end()


def changed(url: str, *, password: str | None = None, port: int | None = None, path: str | None = None) -> str:
    """Return `url` with another password, port or path."""
    place = urlsplit(url)
    netloc = f"{place.username}:{password or place.password}@{place.hostname}:{port or place.port}"
    return place._replace(netloc=netloc, path=path or place.path).geturl()


class TestPostgres:
    def test_a_wrong_password(self, ready: Stage) -> None:
        line = refusal(ready, RELAY_DATABASE_URL=changed(ready.isolated.database_url, password=SECRET))
        assert "password authentication failed for user" in line
        assert "check that it runs and that RELAY_DATABASE_URL names it, with the right user and password" in line

    def test_a_closed_port(self, ready: Stage) -> None:
        (port,) = ports.free(1)
        line = refusal(ready, RELAY_DATABASE_URL=changed(ready.isolated.database_url, port=port, password=SECRET))
        assert f"port {port}" in line
        assert "Connection refused" in line
        assert "check that it runs and that RELAY_DATABASE_URL names it" in line

    def test_a_database_that_does_not_exist(self, ready: Stage) -> None:
        line = refusal(ready, RELAY_DATABASE_URL=changed(ready.isolated.database_url, path="/nowhere"))
        assert 'database "nowhere" does not exist' in line

    def test_a_schema_that_is_missing(self, ready: Stage, sandbox: Sandbox) -> None:
        assert "run `relay setup`" in refusal(ready, RELAY_DATABASE_URL=sandbox.servers.database_url)

    def test_a_relay_that_was_never_set_up(self, ready: Stage) -> None:
        line = refusal(ready, RELAY_SLOT="elsewhere", RELAY_NAME="another")
        assert line == "relay 'another' has no stored position - run `relay setup`, or correct RELAY_NAME"

    def test_a_slot_that_is_missing_though_it_was_there_before(self, ready: Stage) -> None:
        names = {"RELAY_NAME": "second", "RELAY_SLOT": f"{ready.isolated.name}_second"}
        assert ready.run("relay", "setup", **names).process.returncode == 0
        ready.query("SELECT pg_drop_replication_slot(%s)", names["RELAY_SLOT"])
        line = refusal(ready, RELAY_SOURCE="wal", **names)
        assert line == f"replication slot '{names['RELAY_SLOT']}' does not exist - run `relay setup`"
        assert ready.run("relay", "setup", **names).process.returncode == 0
        ready.query("SELECT pg_drop_replication_slot(%s)", names["RELAY_SLOT"])
        ready.query("DELETE FROM relay.checkpoint WHERE name = 'second' RETURNING name")

    def test_a_slot_of_another_plugin(self, ready: Stage) -> None:
        with dropped_slot(ready, f"{ready.isolated.name}_other", "test_decoding") as slot:
            setup = ready.run("relay", "setup", RELAY_SLOT=slot, RELAY_NAME="another")  # which tells its steps
        assert setup.process.returncode == 1
        assert f"replication slot '{slot}' was made with test_decoding" in setup.stderr
        assert "set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`" in setup.stderr

    def test_a_role_without_replication(self, ready: Stage) -> None:
        with role(ready.isolated.database_url, "LOGIN", SECRET) as url:
            line = refusal(ready, RELAY_SOURCE="wal", RELAY_DATABASE_URL=url)
        assert re.match(r"role '\w+' lacks REPLICATION \(.*\) - ALTER ROLE \"\w+\" REPLICATION$", line)

    def test_a_role_that_may_not_read_the_checkpoint(self, ready: Stage) -> None:
        with role(ready.isolated.database_url, "LOGIN REPLICATION", SECRET, granted=False) as url:
            line = refusal(ready, RELAY_DATABASE_URL=url)
        assert "permission denied for schema relay" in line
        assert "`relay check` names what the relay's role lacks, and sql/roles.sql grants it" in line

    def test_a_server_without_the_plugin(self, ready: Stage) -> None:
        """The library search path of this database's sessions is set to an empty directory."""
        database = ready.isolated.name
        alter(ready.isolated.database_url, "ALTER DATABASE {} SET dynamic_library_path = '/nowhere'", database)
        try:
            line = refusal(ready, RELAY_SOURCE="wal")
        finally:
            alter(ready.isolated.database_url, "ALTER DATABASE {} RESET dynamic_library_path", database)
        assert 'could not access file "wal2json"' in line
        assert "install wal2json for this server's version" in line

    def test_a_plugin_that_the_server_does_not_allow(self, ready: Stage) -> None:
        """A server without this setting allows every plugin, and reports an unknown setting."""
        database = ready.isolated.name
        if not ready.query("SELECT FROM pg_settings WHERE name = 'output_plugin_libraries'"):
            with pytest.raises(UndefinedObject):
                alter(ready.isolated.database_url, "ALTER DATABASE {} SET output_plugin_libraries = 'x'", database)
            return
        alter(ready.isolated.database_url, "ALTER DATABASE {} SET output_plugin_libraries = 'pgoutput'", database)
        try:
            line = refusal(ready, RELAY_SOURCE="wal")
        finally:
            alter(ready.isolated.database_url, "ALTER DATABASE {} RESET output_plugin_libraries", database)
        assert 'library "wal2json" may not be used as an output plugin' in line
        assert "ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, wal2json" in line


class TestRabbitmq:
    def test_a_wrong_password(self, ready: Stage) -> None:
        line = refusal(ready, RELAY_AMQP_URL=changed(ready.isolated.amqp_url, password=SECRET))
        assert "refused the user or password" in line
        assert "check the AMQP URL's user and password" in line

    def test_a_closed_port(self, ready: Stage) -> None:
        (port,) = ports.free(1)
        line = refusal(ready, RELAY_AMQP_URL=changed(ready.isolated.amqp_url, port=port, password=SECRET))
        assert f"RabbitMQ at 127.0.0.1:{port}/ is not reachable ([Errno 111] Connection refused)" in line
        assert "check that it runs and that the AMQP URL names it" in line

    def test_a_virtual_host_that_does_not_exist(self, ready: Stage) -> None:
        line = refusal(ready, RELAY_AMQP_URL=changed(ready.isolated.amqp_url, path="/nowhere"))
        assert re.match(r"RabbitMQ at 127.0.0.1:\d+/nowhere refused the virtual host", line)
        assert "rabbitmqctl add_vhost" in line

    def test_an_exchange_that_is_missing(self, ready: Stage) -> None:
        line = refusal(ready, RELAY_EXCHANGE="elsewhere")
        assert "answered 404" in line
        assert "create it: `relay setup` declares the exchange" in line


class TestSettings:
    def test_a_misspelt_name(self, ready: Stage) -> None:
        line = mistake(ready, RELAY_DATABSE_URL=f"postgresql://relay:{SECRET}@localhost/relay")
        assert line == "RELAY_DATABSE_URL is not a setting - did you mean RELAY_DATABASE_URL?"

    def test_a_missing_one(self, ready: Stage) -> None:
        stage_settings = ready.settings
        ready.settings = {name: value for name, value in stage_settings.items() if name != "RELAY_AMQP_URL"}
        try:
            line = mistake(ready)
        finally:
            ready.settings = stage_settings
        assert line == "RELAY_AMQP_URL is not set - set it in the environment, in RELAY_AMQP_URL_FILE or with --config"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("RELAY_DATABASE_URL", f"postgresql://relay:{SECRET}@[::1/relay"),
            ("RELAY_AMQP_URL", f"https://relay:{SECRET}@localhost"),
            ("RELAY_SLOT", f"Slot-{SECRET}"),
            ("RELAY_ROUTING_KEY", "{aggregate_typ}"),
            ("RELAY_MAX_IN_FLIGHT", SECRET),
            ("RELAY_CONFIRM_TIMEOUT", "inf"),
            ("RELAY_OUTBOX_COLUMNS", f"{{{SECRET}"),
        ],
        ids=lambda value: value if value.startswith("RELAY_") else "",
    )
    def test_a_wrong_one_is_named_and_its_value_is_not_printed(self, name: str, value: str, ready: Stage) -> None:
        assert mistake(ready, **{name: value}).startswith(f"{name} is wrong: ")


@contextmanager
def dropped_slot(stage: Stage, name: str, plugin: str) -> Iterator[str]:
    """Make a slot; it is dropped at the end of the block."""
    stage.query("SELECT pg_create_logical_replication_slot(%s, %s)", name, plugin)
    try:
        yield name
    finally:
        stage.query("SELECT pg_drop_replication_slot(%s)", name)


def test_a_server_whose_wal_is_not_logical(ready: Stage) -> None:
    with private.postgres(Extra("wal_level = replica\n")) as server:
        remedy = (
            "wal_level is replica, not logical - ALTER SYSTEM SET wal_level = logical, then restart Postgres; "
            "or set RELAY_SOURCE=polling, which reads the table and needs no logical WAL"
        )
        assert refusal(ready, "relay", "setup", RELAY_DATABASE_URL=server.url) == remedy
        with psycopg.connect(server.url, autocommit=True) as connection:
            schema.apply(connection)
        assert refusal(ready, "relay", "setup", RELAY_DATABASE_URL=server.url) == remedy
