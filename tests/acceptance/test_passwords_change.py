"""A password is changed while the relay runs: it reads its secret file anew at each connect, and goes on by itself."""

from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from sandbox import Sandbox
from tests.acceptance.commands import Command
from tests.acceptance.roles import role
from tests.acceptance.stage import Stage
from tests.acceptance.tap import Tap
from tests.acceptance.users import user

OLD, NEW = "the/old@one", "the/new@one"
CUT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = %s"


def start(stage: Stage, name: str, url: str) -> tuple[Command, Path]:
    """Start a relay that has its setting `name` from a file; return it, and the file."""
    secret = stage.directory / "secret"
    secret.write_text(url, encoding="ascii")
    del stage.settings[name]
    relay = stage.start("relay", "run", **{f"{name}_FILE": str(secret)})
    relay.logged("streaming")
    return relay, secret


def goes_on(stage: Stage, relay: Command, tap: Tap, secret: Path) -> None:
    """Commit events that nobody can publish, give the relay the new password, and wait until all are confirmed."""
    events = stage.publish_in_one_transaction(10, "meanwhile")
    assert tap.waiting() == 0
    secret.write_text(secret.read_text(encoding="ascii").replace(quote(OLD, safe=""), quote(NEW, safe="")))
    stage.confirmed()
    assert relay.terminate() == 0, relay.tail()
    assert stage.judge(tap, events).duplicates == 0


def test_in_postgres(stage: Stage) -> None:
    tap = stage.set_up()
    with role(stage.isolated.database_url, "LOGIN REPLICATION", OLD) as url:
        name = str(urlsplit(url).username)
        relay, secret = start(stage, "RELAY_DATABASE_URL", url)
        with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
            connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(name), Literal(NEW)))
        assert stage.value(CUT, name) == 2  # the stream, and what is asked beside it
        relay.complains("password authentication failed")
        goes_on(stage, relay, tap, secret)


def test_in_rabbitmq(stage: Stage, sandbox: Sandbox) -> None:
    tap = stage.set_up()
    with user(sandbox, stage.isolated.name, OLD) as account:
        account.permit(configure="^$", write=".*", read="^$")
        relay, secret = start(stage, "RELAY_AMQP_URL", account.url)
        account.change(NEW)  # which cuts its connections
        relay.complains("refused the user or password")
        goes_on(stage, relay, tap, secret)
