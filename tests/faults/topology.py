"""Bindings, queues, exchanges, permissions and passwords are removed or changed under load, and restored."""

from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from sandbox.machine.waiting import until
from tests.faults.run import REPEATED, Fault, Run
from tests.support.commands import Command
from tests.support.roles import role
from tests.support.tap import Tap
from tests.support.urls import login
from tests.support.users import user

_PARKED = 200
_OLD, _NEW = "the/old@one", "the/new@one"
_NO_QUEUE = "no queue takes routing key"
_BIND = "bind a queue to this routing key, or set RELAY_ON_RETURN to park or retry"
_REASONS = "SELECT reason, count(*) FROM relay.parked GROUP BY reason"
_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"


def unbound_and_parked(run: Run) -> None:
    """Remove the binding: returned events are parked, and the stream continues."""
    relay = run.streaming_relay(RELAY_ON_RETURN="park")
    run.tap.unbind()
    until(lambda: _parked(run).get("returned", 0) >= _PARKED, what=f"{_PARKED} events are parked", seconds=15)
    run.tap.bind()
    run.healed()
    run.flows()
    assert "bind a queue" in relay.logged("message returned")["remedy"]
    assert set(_parked(run)) == {"returned"}
    run.no_storm(1)


def unbound_and_retried(run: Run) -> None:
    """Remove the binding: everything waits until a queue is bound."""
    relay = run.streaming_relay(RELAY_ON_RETURN="retry")
    run.tap.unbind()
    relay.logged("message returned")
    taken = run.tap.waiting()
    assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
    assert run.tap.waiting() == taken
    run.tap.bind()
    run.healed()
    run.flows()
    assert _parked(run) == {}
    run.no_storm(1)


def unbound_and_halted(run: Run) -> None:
    """Remove the binding: the relay ends, and so does the next one, until a queue is bound."""
    relay = run.streaming_relay(RELAY_ON_RETURN="halt")
    run.tap.unbind()
    _ends(relay, _NO_QUEUE, _BIND)
    _ends(run.start_relay(RELAY_ON_RETURN="halt"), _NO_QUEUE, _BIND)
    run.tap.bind()
    run.healed()
    run.streaming_relay(RELAY_ON_RETURN="halt")
    assert _parked(run) == {}


def exchange_deleted(run: Run) -> None:
    """Delete the exchange; make it again as the error says, and then the binding."""
    relay = run.streaming_relay(RELAY_ON_RETURN="retry")
    with run.tap.channel() as channel:
        channel.exchange_delete(run.stage.isolated.name)
    _complains(relay, "answered 404", "`relay setup` declares the exchange")
    assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
    setup = run.stage.run("relay", "setup")
    assert setup.process.returncode == 0, setup.tail()
    assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
    run.tap.bind()
    run.healed()
    run.flows()
    run.no_storm()


def queue_deleted(run: Run) -> None:
    """Delete the queue, which is drained before, and make it again."""
    relay = run.streaming_relay(RELAY_ON_RETURN="retry")
    run.stop_load()
    run.stage.confirmed()
    run.taken += run.tap.drain()
    with run.tap.channel() as channel:
        channel.queue_delete(run.tap.queue, if_empty=True)
    run.start_load()
    relay.logged("message returned")
    assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
    isolated = run.stage.isolated
    run.tap = Tap(isolated.amqp_url, queue=run.tap.queue, exchange=isolated.name)
    run.healed()
    run.flows()
    run.no_storm(1)


def write_forbidden(run: Run) -> None:
    """Revoke the permission to write to the exchange, and grant it again."""
    account = run.borrow(user(run.box.rabbitmq, run.stage.isolated.amqp_url, run.stage.isolated.name, _OLD))
    account.permit(configure="^$", write=".*", read="^$")
    run.secrets.add(_OLD)
    relay = run.streaming_relay(RELAY_AMQP_URL=login(run.broker.url, account.name, _OLD))
    account.permit(configure="^$", write="^$", read="^$")
    run.broker.cut()  # an open channel keeps the permissions that it has cached
    _complains(relay, "answered 403", "rabbitmqctl set_permissions")
    assert relay.outlives(run.draw.uniform(0, 5)), relay.tail()
    account.permit(configure="^$", write=".*", read="^$")
    run.healed()
    run.flows()
    run.no_storm()


def rabbitmq_password_changed(run: Run) -> None:
    """Change the user's password, and later the file that the relay reads it from."""
    account = run.borrow(user(run.box.rabbitmq, run.stage.isolated.amqp_url, run.stage.isolated.name, _OLD))
    account.permit(configure="^$", write=".*", read="^$")
    secret = _from_file(run, "RELAY_AMQP_URL", login(run.broker.url, account.name, _OLD))
    relay = run.streaming_relay()
    account.change(_NEW)
    _complains(relay, "refused the user or password", "check the AMQP URL's user and password")
    _fixes(run, secret)
    run.no_storm()


def postgres_password_changed(run: Run) -> None:
    """Change the role's password, and later the file that the relay reads it from."""
    url = run.borrow(role(run.stage.isolated.database_url, "LOGIN REPLICATION", _OLD))
    name = str(urlsplit(url).username)
    secret = _from_file(run, "RELAY_DATABASE_URL", login(run.postgres.url, name, _OLD))
    relay = run.streaming_relay()
    with psycopg.connect(run.stage.isolated.database_url, autocommit=True) as connection:
        connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(name), Literal(_NEW)))
        connection.execute(_CUT, [name])
    _complains(relay, "password authentication failed", "the right user and password")
    _fixes(run, secret)


def _parked(run: Run) -> dict[str, int]:
    """Return how many events are parked, by reason."""
    return dict(run.stage.query(_REASONS))


def _complains(relay: Command, reason: str, remedy: str) -> None:
    """Wait until it logs `reason`; fails if that line has another remedy."""
    relay.complains(reason)
    line = next(line for line in relay.log if reason in str(line.get("reason")))
    assert remedy in line["remedy"], line


def _ends(relay: Command, what: str, remedy: str) -> None:
    """Wait until it has ended with exit code 1; its last line must contain `what` and `remedy`."""
    assert relay.ended() == 1, relay.tail()
    last = relay.stderr.splitlines()[-1]
    assert what in last, last
    assert remedy in last, last


def _from_file(run: Run, name: str, url: str) -> Path:
    """Give relays their setting `name` in a file; return the file."""
    secret = run.stage.directory / "secret"
    secret.write_text(url, encoding="ascii")
    del run.settings[name], run.stage.settings[name]
    run.settings[f"{name}_FILE"] = str(secret)
    run.secrets |= {form for password in (_OLD, _NEW) for form in (password, quote(password, safe=""))}
    return secret


def _fixes(run: Run, secret: Path) -> None:
    """Write the new password to the file, some time later."""
    assert run.relay.outlives(run.draw.uniform(0, 3)), run.relay.tail()
    secret.write_text(secret.read_text(encoding="ascii").replace(quote(_OLD, safe=""), quote(_NEW, safe="")))
    run.healed()
    run.flows()


FAULTS = (
    Fault("binding removed while returns are parked", unbound_and_parked, duplicates=0),
    Fault("binding removed while returns are tried again", unbound_and_retried, duplicates=0),
    Fault("binding removed while returns halt the relay", unbound_and_halted, duplicates=2 * REPEATED),
    Fault("exchange deleted", exchange_deleted, duplicates=REPEATED),
    Fault("queue deleted", queue_deleted, duplicates=0),
    Fault("permission to write revoked", write_forbidden, duplicates=REPEATED),
    Fault("password changed in RabbitMQ", rabbitmq_password_changed, duplicates=REPEATED),
    Fault("password changed in Postgres", postgres_password_changed, duplicates=REPEATED),
)
