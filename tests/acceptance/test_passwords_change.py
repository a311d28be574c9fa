"""A password is changed while relay and consumers run.

They read their secret files anew at each connect, and go on by themselves.
"""

from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from sandbox import Sandbox
from sandbox.machine.waiting import until
from tests.support.commands import Command
from tests.support.roles import role
from tests.support.stage import SESSIONS, Stage
from tests.support.tap import Tap
from tests.support.users import user

OLD, NEW = "the/old@one", "the/new@one"
NAMES = "SELECT array_agg(application_name) FROM pg_stat_activity WHERE usename = %s"
CUT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = %s"


def kept(stage: Stage, name: str, url: str) -> Path:
    """Put the setting `name` into a file; return the file."""
    secret = stage.directory / "secret"
    secret.write_text(url, encoding="ascii")
    del stage.settings[name]
    stage.settings[f"{name}_FILE"] = str(secret)
    return secret


def give(stage: Stage, name: str, password: str) -> None:
    """Change the role's password; its connections stay open."""
    with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
        connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(name), Literal(password)))


def renewed(secret: Path) -> None:
    """Write the new password over the old one."""
    secret.write_text(secret.read_text(encoding="ascii").replace(quote(OLD, safe=""), quote(NEW, safe="")))


def start(stage: Stage, name: str, url: str) -> tuple[Command, Path]:
    """Start a relay that reads its setting `name` from a file; return it, and the file."""
    secret = kept(stage, name, url)
    relay = stage.start("relay", "run")
    relay.streams()
    return relay, secret


def goes_on(stage: Stage, relay: Command, tap: Tap, secret: Path) -> None:
    """Commit events that cannot be published, give the relay the new password, and wait until all are confirmed."""
    events = stage.publish_in_one_transaction(10, "meanwhile")
    assert tap.waiting() == 0
    renewed(secret)
    stage.confirmed()
    assert relay.terminate() == 0, relay.tail()
    assert stage.judge(tap, events).duplicates == 0


def consume(stage: Stage, name: str, url: str) -> tuple[Command, Path]:
    """Start a relay, and a consumer that reads its setting `name` from a file; wait until it applies tasks."""
    secret = kept(stage, name, url)
    stage.start("relay", "run")
    consumer = stage.consumer()
    assert stage.submit("--count", "10").ended() == 0
    stage.applied(10)
    return consumer, secret


def consumes_on(stage: Stage, consumer: Command, tap: Tap, secret: Path) -> None:
    """Submit tasks that cannot be applied, give the consumer the new password, and wait until all are applied."""
    assert stage.submit("--count", "10").ended() == 0
    assert len(stage.effects()) == 10
    renewed(secret)
    stage.applied(20)
    assert consumer.terminate() == 0, consumer.tail()
    assert stage.judge(tap).committed == 20


def test_in_postgres(stage: Stage) -> None:
    tap = stage.set_up()
    with role(stage.isolated.database_url, "LOGIN REPLICATION", OLD) as url:
        name = str(urlsplit(url).username)
        relay, secret = start(stage, "RELAY_DATABASE_URL", url)
        give(stage, name, NEW)
        until(lambda: set(stage.value(NAMES, name)) >= SESSIONS, what="the stream, and all other sessions", seconds=60)
        assert stage.value(CUT, name) >= len(SESSIONS)
        relay.complains("password authentication failed")
        goes_on(stage, relay, tap, secret)


def test_in_postgres_while_consumers_run(stage: Stage) -> None:
    tap = stage.set_up()
    with role(stage.isolated.database_url, "LOGIN SUPERUSER", OLD) as url:
        name = str(urlsplit(url).username)
        consumer, secret = consume(stage, "CONSUMERS_DATABASE_URL", url)
        give(stage, name, NEW)
        until(lambda: len(stage.value(NAMES, name)) >= 3, what="claims, leases, and the handlers' own", seconds=60)
        assert stage.value(CUT, name) >= 3
        consumer.complains("password authentication failed")
        consumes_on(stage, consumer, tap, secret)


def test_in_rabbitmq_while_consumers_run(stage: Stage, sandbox: Sandbox) -> None:
    tap = stage.set_up()
    with user(sandbox.rabbitmq, sandbox.servers.amqp_url, stage.isolated.name, OLD) as account:
        account.permit(configure=".*", write=".*", read=".*")
        consumer, secret = consume(stage, "CONSUMERS_AMQP_URL", account.url)
        account.change(NEW)
        consumer.complains("refused the user or password")
        consumes_on(stage, consumer, tap, secret)


def test_in_rabbitmq(stage: Stage, sandbox: Sandbox) -> None:
    tap = stage.set_up()
    with user(sandbox.rabbitmq, sandbox.servers.amqp_url, stage.isolated.name, OLD) as account:
        account.permit(configure="^$", write=".*", read="^$")
        relay, secret = start(stage, "RELAY_AMQP_URL", account.url)
        account.change(NEW)  # which cuts its connections
        relay.complains("refused the user or password")
        goes_on(stage, relay, tap, secret)
