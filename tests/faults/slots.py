"""The slot is gone. No stream has what was committed meanwhile: the relay must report that, and must not continue.

`relay setup --accept-gap` skips the documented gap and no more: every event from before the loss, and every event after
the new slot was made, must arrive.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString
from uuid import UUID

import psycopg

from sandbox.machine.waiting import until
from tests.faults.run import REPEATED, Fault, Run

_END_HOLDER = (
    "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s AND active_pid > 0"
)
_DROP = "SELECT pg_drop_replication_slot(%s)"
_STATUS = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s"


def dropped(run: Run) -> None:
    """Drop it while a relay streams from it."""
    run.streaming_relay()
    before = confirmed(run)
    until(lambda: drops(run), what="the slot is dropped", seconds=20)
    accept_the_gap(run, before, "does not exist - ")


def lost(run: Run) -> None:
    """Let it fall behind max_slot_wal_keep_size, while the broker is away."""
    run.streaming_relay()
    before = confirmed(run)
    run.broker.refuse.set()
    run.broker.cut()
    with _wal_is_limited(run):
        until(lambda: _falls_behind(run), what="the slot is lost", seconds=30)
    run.broker.refuse.clear()
    accept_the_gap(run, before, "is lost: Postgres removed WAL that it needed (max_slot_wal_keep_size) - ")


def confirmed(run: Run) -> set[UUID]:
    """Return what was committed so far, when all of it is confirmed."""
    before = set(run.committed())
    run.stage.confirmed()
    return before


def drops(run: Run) -> bool:
    """Try to drop the slot before the relay takes it again."""
    run.stage.query(_END_HOLDER, run.stage.isolated.name)
    try:
        run.stage.query(_DROP, run.stage.isolated.name)
    except psycopg.errors.ObjectInUse:
        return False
    return True


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


def _refuses(run: Run, why: str) -> None:
    """Wait for the relay to end by itself, with one line of what is wrong and what to do."""
    relay = run.relay
    assert relay.ended() == 1, relay.tail()
    line = relay.stderr.splitlines()[-1]
    assert line.startswith(f"relay: replication slot '{run.stage.isolated.name}' {why}"), line
    assert "`relay setup" in line, line


def accept_the_gap(run: Run, before: set[UUID], why: str) -> None:
    """Wait until the relay has refused, saying `why`, and go on from a slot behind the gap, which has to be asked for.

    What was committed since `before` may be missed, and nothing else.
    """
    _refuses(run, why)
    setup = run.stage.run("relay", "setup")
    assert setup.process.returncode == 1, setup.tail()
    assert "`relay setup --accept-gap`" in setup.stderr, setup.tail()
    again = run.stage.run("relay", "setup", "--accept-gap")
    assert again.process.returncode == 0, again.tail()
    run.stop_load()
    run.missed = [event for event in run.committed() if event not in before]
    run.start_load()
    run.healed()
    run.streaming_relay()


FAULTS = (
    Fault("slot dropped under the relay", dropped, duplicates=REPEATED),
    Fault("slot lost by max_slot_wal_keep_size", lost, duplicates=REPEATED),
)
