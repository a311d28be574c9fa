"""Postgres refuses to read the WAL for the relay: without the plugin, the right, or wal_level. It polls meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg

from sandbox.machine.waiting import until
from tests.faults.run import REPEATED, Fault, Run
from tests.faults.sources.slots import drops
from tests.faults.sources.watching import KEPT, NEW, SOON, all_changes, polls_and_goes_back, reads, streaming
from tests.support.roles import alter, role
from tests.support.urls import login

_PASSWORD = "the relay's"
_END_STREAM = "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s"


def plugin_removed(run: Run) -> None:
    """Take the output plugin away: Postgres does not find it any more."""
    relay = streaming(run)
    with _without_plugin(run):
        run.stage.query(_END_STREAM, run.stage.isolated.name)
        reads(run, "polling")
        run.flows()
        until(
            lambda: any(line["event"] == "not handed over" for line in relay.log),
            what="the relay says why it does not go back",
            seconds=15,
        )
    run.healed()
    polls_and_goes_back(run, "plugin", KEPT)


def replication_revoked(run: Run) -> None:
    """Take the REPLICATION right from the relay's role, and give it back."""
    url = run.borrow(role(run.stage.isolated.database_url, "LOGIN REPLICATION", _PASSWORD))
    name = str(urlsplit(url).username)
    run.secrets.add(_PASSWORD)
    relay = streaming(run, RELAY_DATABASE_URL=login(run.postgres.url, name, _PASSWORD))
    alter(run.stage.isolated.database_url, "ALTER ROLE {} NOREPLICATION", name)
    run.stage.query(_END_STREAM, run.stage.isolated.name)
    reads(run, "polling")
    run.flows()
    assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
    alter(run.stage.isolated.database_url, "ALTER ROLE {} REPLICATION", name)
    run.healed()
    polls_and_goes_back(run, "not permitted", KEPT)


def wal_level_lowered(run: Run) -> None:
    """Restart it with wal_level=replica, with which it starts only without a logical slot; then raise it again."""
    first = run.streaming_relay(RELAY_SLOTS_PER_HOUR="0")  # or it would make a slot before the restart
    until(lambda: drops(run), what="the slot is dropped", seconds=20)
    reads(run, "polling")
    _restarted(run, "ALTER SYSTEM SET wal_level = 'replica'")
    try:
        first.complains("wal_level is replica")
        run.flows()
        assert first.terminate() == 0, first.tail()
        run.commit(5, "meanwhile")
        second = run.start_relay(**SOON)  # one that starts there polls as well
        second.complains("wal_level is replica", seconds=60)
        run.flows()
    finally:
        _restarted(run, "ALTER SYSTEM RESET wal_level")
    run.healed()
    reads(run, "wal")
    run.flows()
    assert all_changes(run)[-1].detail == NEW, all_changes(run)


def _restarted(run: Run, statement: LiteralString) -> None:
    _administer(run, statement)
    run.box.postgres.stop()
    run.box.postgres.start()


@contextmanager
def _without_plugin(run: Run) -> Iterator[None]:
    """Let new sessions of this database find no library by its name; Postgres looks for plugins so."""
    run.alter_database("ALTER DATABASE {} SET dynamic_library_path = '/nowhere'")
    try:
        yield
    finally:
        run.alter_database("ALTER DATABASE {} RESET dynamic_library_path")


def _administer(run: Run, statement: LiteralString) -> None:
    with psycopg.connect(run.stage.isolated.database_url, autocommit=True) as connection:
        connection.execute(statement)


FAULTS = (
    Fault("output plugin removed", plugin_removed, duplicates=REPEATED),
    Fault("REPLICATION revoked", replication_revoked, duplicates=REPEATED),
    Fault("wal_level lowered by a restart", wal_level_lowered, duplicates=2 * REPEATED, recovers_within=45),
)
