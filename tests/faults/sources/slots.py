"""The slot is gone, or somebody else moved it or made it again: the relay polls what no stream has, and goes back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg

from sandbox.machine.waiting import until
from tests.faults.run import REPEATED, Fault, Run
from tests.faults.sources.watching import AS_IT_STANDS, NEW, SOON, polls_and_goes_back, reads, streaming

_END_HOLDER = (
    "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s AND active_pid > 0"
)
_DROP = "SELECT pg_drop_replication_slot(%s)"
_CREATE = "SELECT pg_create_logical_replication_slot(%s, %s)"
_ADVANCE = "SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())"
_STATUS = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s"
_MISSED = 5


def dropped(run: Run) -> None:
    """Drop it while a relay streams from it."""
    streaming(run)
    until(lambda: drops(run), what="the slot is dropped", seconds=20)
    run.healed()
    polls_and_goes_back(run, "slot missing", NEW)


def dropped_under_a_stopped_relay(run: Run) -> None:
    """Drop it while no relay runs."""
    relay = streaming(run)
    assert relay.terminate() == 0, relay.tail()
    run.stage.query(_DROP, run.stage.isolated.name)
    run.commit(_MISSED, "meanwhile")
    run.start_relay(**SOON)
    run.healed()
    reads(run, "polling")
    polls_and_goes_back(run, "slot missing", NEW)


def lost(run: Run) -> None:
    """Let it fall behind max_slot_wal_keep_size, while the broker is away."""
    streaming(run)
    run.broker.refuse.set()
    run.broker.cut()
    with _wal_is_limited(run):
        until(lambda: _falls_behind(run), what="the slot is lost", seconds=30)
    run.broker.refuse.clear()
    run.healed()
    reads(run, "polling")
    polls_and_goes_back(run, "slot lost", NEW)


def made_again_under_a_stopped_relay(run: Run) -> None:
    """Drop it, commit, and make a slot of that name, as a script that repairs replication does."""
    relay = streaming(run)
    assert relay.terminate() == 0, relay.tail()
    run.stage.query(_DROP, run.stage.isolated.name)
    run.commit(_MISSED, "meanwhile")
    _create(run, "wal2json")
    run.start_relay(**SOON)
    run.healed()
    reads(run, "polling")
    polls_and_goes_back(run, "slot moved", AS_IT_STANDS)


def made_again_under_a_running_relay(run: Run) -> None:
    """Do that while the relay cannot connect."""
    streaming(run)
    with _away(run):
        until(lambda: drops(run), what="the slot is dropped", seconds=20)
        run.commit(_MISSED, "meanwhile")
        _create(run, "wal2json")
    run.healed()
    reads(run, "polling")
    polls_and_goes_back(run, "slot moved", AS_IT_STANDS)


def made_again_with_another_plugin(run: Run) -> None:
    """Somebody takes the name for a slot of another plugin: the relay polls until that one is dropped."""
    relay = streaming(run)
    with _away(run):
        until(lambda: drops(run), what="the slot is dropped", seconds=20)
        _create(run, "test_decoding")
    reads(run, "polling")
    run.flows()
    assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
    assert "test_decoding" in relay.logged("not handed over")["reason"]
    run.stage.query(_DROP, run.stage.isolated.name)
    run.healed()
    polls_and_goes_back(run, "plugin", NEW)


def moved(run: Run) -> None:
    """Somebody advances it over what the relay has not read."""
    streaming(run)
    with _away(run):
        run.commit(_MISSED, "meanwhile")
        until(lambda: _advances(run), what="the slot is advanced", seconds=20)
    run.healed()
    reads(run, "polling")
    polls_and_goes_back(run, "slot moved", AS_IT_STANDS)


def drops(run: Run) -> bool:
    """Try to drop the slot before the relay takes it again."""
    return _unheld(run, _DROP)


def _advances(run: Run) -> bool:
    return _unheld(run, _ADVANCE)


def _unheld(run: Run, statement: LiteralString) -> bool:
    """End whoever streams, and try `statement` on the slot; return whether it was free."""
    run.stage.query(_END_HOLDER, run.stage.isolated.name)
    try:
        run.stage.query(statement, run.stage.isolated.name)
    except psycopg.errors.ObjectInUse:
        return False
    return True


def _create(run: Run, plugin: str) -> None:
    run.stage.query(_CREATE, run.stage.isolated.name, plugin)


@contextmanager
def _away(run: Run) -> Iterator[None]:
    """Cut the relay off from Postgres for the block."""
    run.postgres.refuse.set()
    run.postgres.cut()
    try:
        yield
    finally:
        run.postgres.refuse.clear()


@contextmanager
def _wal_is_limited(run: Run) -> Iterator[None]:
    _administer(run, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        _administer(run, "ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()")


def _falls_behind(run: Run) -> bool:
    """Write one more segment of WAL, and have Postgres look what it may remove."""
    _administer(run, "SELECT pg_switch_wal()", "CHECKPOINT")
    return bool(run.stage.value(_STATUS, run.stage.isolated.name) == "lost")


def _administer(run: Run, *statements: LiteralString) -> None:
    with psycopg.connect(run.stage.isolated.database_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


FAULTS = (
    Fault("slot dropped under the relay", dropped, duplicates=REPEATED),
    Fault("slot dropped under a stopped relay", dropped_under_a_stopped_relay, duplicates=0),
    Fault("slot lost by max_slot_wal_keep_size", lost, duplicates=REPEATED),
    Fault("slot made again under a stopped relay", made_again_under_a_stopped_relay, duplicates=0),
    Fault("slot made again under a running relay", made_again_under_a_running_relay, duplicates=REPEATED),
    Fault("slot made again with another plugin", made_again_with_another_plugin, duplicates=REPEATED),
    Fault("slot moved by somebody else", moved, duplicates=REPEATED),
)
