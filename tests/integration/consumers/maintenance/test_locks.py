"""The functions on tasks.lock on a real Postgres: who gets a lock, for how long, and with which epoch."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from sandbox import Isolated
from sandbox.machine.waiting import until

Connection = psycopg.Connection[Any]
ACQUIRE: LiteralString = "SELECT * FROM tasks.acquire_lock(%s, %s::interval, %s)"
RELEASE: LiteralString = "SELECT tasks.release_lock(%s, %s, %s::interval)"


@pytest.fixture
def connect(isolated: Isolated) -> Iterator[Callable[[], Connection]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            psycopg.connect(isolated.database_url, autocommit=True, row_factory=namedtuple_row)
        )


@pytest.fixture
def connection(connect: Callable[[], Connection]) -> Connection:
    return connect()


def acquire(connection: Connection, holder: str, *, name: str = "job", at_most: str = "1 min") -> Any:  # noqa: ANN401 - a named tuple
    return connection.execute(ACQUIRE, [name, at_most, holder]).fetchone()


def release(connection: Connection, epoch: int, *, name: str = "job", at_least: str = "0") -> bool:
    row = connection.execute(RELEASE, [name, epoch, at_least]).fetchone()
    assert row is not None
    return bool(row[0])


def age(connection: Connection, by: str) -> None:
    """Let the lock's times be `by` ago."""
    connection.execute(
        "UPDATE tasks.lock SET started_at = started_at - %s::interval, locked_until = locked_until - %s::interval",
        [by, by],
    )


def names(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM tasks.lock ORDER BY name")]


def test_a_lock_goes_to_one_and_others_are_told_who_has_it(connection: Connection) -> None:
    mine = acquire(connection, "me")
    assert mine.acquired
    other = acquire(connection, "you")
    assert not other.acquired
    assert (other.held_by, other.epoch, other.started_at) == ("me", mine.epoch, mine.started_at)
    assert (other.locked_until - other.started_at).total_seconds() == pytest.approx(60, abs=0.01)
    assert acquire(connection, "you", name="another").acquired


def test_the_same_holder_does_not_get_it_twice(connection: Connection) -> None:
    assert [acquire(connection, "me").acquired for _ in range(2)] == [True, False]


def test_a_lock_that_was_not_released_is_free_when_its_time_is_over(connection: Connection) -> None:
    mine = acquire(connection, "me")
    age(connection, "30 s")
    assert not acquire(connection, "you").acquired
    age(connection, "30 s")
    yours = acquire(connection, "you")
    assert yours.acquired
    assert yours.epoch > mine.epoch


def test_a_release_before_the_minimum_keeps_the_lock_until_then(connection: Connection) -> None:
    mine = acquire(connection, "me")
    assert release(connection, mine.epoch, at_least="30 s")
    held = acquire(connection, "you")
    assert (held.acquired, held.ended_at is not None) == (False, True)
    assert (held.locked_until - held.started_at).total_seconds() == 30
    age(connection, "30 s")
    assert acquire(connection, "you").acquired


def test_a_release_past_the_minimum_removes_the_lock(connection: Connection) -> None:
    mine = acquire(connection, "me")
    age(connection, "30 s")
    assert release(connection, mine.epoch, at_least="30 s")
    assert names(connection) == []


def test_a_minimum_above_the_maximum_does_not_hold_the_lock_for_longer(connection: Connection) -> None:
    mine = acquire(connection, "me")
    assert release(connection, mine.epoch, at_least="1 h")
    held = acquire(connection, "you")
    assert held.locked_until == mine.locked_until


def test_only_the_holders_epoch_releases_and_extends(connection: Connection) -> None:
    late = acquire(connection, "late")
    age(connection, "1 min")
    now = acquire(connection, "now")
    assert not release(connection, late.epoch)
    extend: LiteralString = "SELECT tasks.extend_lock('job', %s, '1 h')"
    assert connection.execute(extend, [late.epoch]).fetchone() == (None,)
    assert acquire(connection, "you").epoch == now.epoch
    (until_,) = connection.execute(extend, [now.epoch]).fetchone() or (None,)
    assert acquire(connection, "you").locked_until == until_ > now.locked_until


def test_epochs_grow_across_releases_that_remove_the_row(connection: Connection) -> None:
    epochs = []
    for _ in range(5):
        epochs.append(acquire(connection, "me").epoch)
        assert release(connection, epochs[-1])
        assert names(connection) == []
    assert epochs == sorted(set(epochs))


def test_the_epoch_grows_for_one_that_waited_while_another_came_and_went(connect: Callable[[], Connection]) -> None:
    """Its first epoch is drawn before its insert waits: it would be the smaller one, and fence the wrong holder."""
    first, second = connect(), connect()
    with ThreadPoolExecutor(1) as threads, first.transaction():
        before = acquire(first, "first")
        waiting = threads.submit(acquire, second, "second")
        blocked: LiteralString = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        until(
            lambda: first.execute(blocked, [second.info.backend_pid]).fetchone() == (True,), what="it waits", seconds=30
        )
        assert release(first, before.epoch)
        again = acquire(first, "first")
        assert release(first, again.epoch)
    found = waiting.result()
    assert found.acquired
    assert found.epoch > again.epoch > before.epoch
    assert release(second, found.epoch)


def test_times_are_the_clocks_and_not_the_transactions(connection: Connection) -> None:
    with connection.transaction():
        (began,) = connection.execute("SELECT now() FROM pg_sleep(0.05)").fetchone() or (None,)
        mine = acquire(connection, "me", at_most="30 ms")
        assert (mine.started_at - began).total_seconds() >= 0.05
        connection.execute("SELECT pg_sleep(0.04)")
        assert acquire(connection, "you").acquired


def test_16_threads_race_for_one_lock_thousands_of_times_and_never_two_have_it(
    connect: Callable[[], Connection], seed: int
) -> None:
    """An advisory lock of the session, which does not wait, shows whether somebody else is inside."""
    watch = connect()
    watch.execute("CREATE TABLE run (number integer GENERATED ALWAYS AS IDENTITY, epoch bigint, thread integer)")
    inside: LiteralString = "SELECT pg_try_advisory_lock(4711)"
    note: LiteralString = (
        "WITH noted AS (INSERT INTO run (epoch, thread) VALUES (%s, %s)) SELECT pg_advisory_unlock(4711)"
    )
    wanted, won, lost = 2000, [0] * 16, [0] * 16
    done = threading.Event()

    def race(number: int) -> None:
        randomness = Random(seed + number)  # noqa: S311 - no secret
        own = connect_own()
        own.execute("SET synchronous_commit = off")  # thousands of flushes prove nothing more
        while not done.is_set():
            lock = acquire(own, f"thread {number}")
            if not lock.acquired:
                lost[number] += 1
                continue
            assert own.execute(inside).fetchone() == (True,), "somebody else is inside"
            assert own.execute(note, [lock.epoch, number]).fetchone() == (True,)
            assert release(own, lock.epoch, at_least=randomness.choice(["0", "0.3 ms"]))
            won[number] += 1
            if sum(won) >= wanted:
                done.set()

    def connect_own() -> Connection:
        with guard:
            return connect()

    guard = threading.Lock()
    with ThreadPoolExecutor(16) as threads:
        for racing in [threads.submit(race, number) for number in range(16)]:
            try:
                racing.result()
            finally:
                done.set()
    epochs = [epoch for (epoch,) in watch.execute("SELECT epoch FROM run ORDER BY number")]
    assert len(epochs) == sum(won) >= wanted
    assert epochs == sorted(set(epochs))
    assert sum(lost) > 0
    assert sum(each > 0 for each in won) > 1, "only one thread ever had it"


@pytest.mark.parametrize("at_most", ["0", "-1 s", None])
def test_a_lock_for_no_time_is_refused(connection: Connection, at_most: str | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"lock job: at_most is .* must be longer"):
        connection.execute(ACQUIRE, ["job", at_most, "me"])


def test_a_lock_needs_a_name_and_a_holder(connection: Connection) -> None:
    for name, holder in (("", "me"), ("x" * 201, "me"), ("job", "")):
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(ACQUIRE, [name, "1 s", holder])
    with pytest.raises(psycopg.errors.NotNullViolation):
        connection.execute(ACQUIRE, [None, "1 s", "me"])


def test_a_holder_that_gives_no_name_is_named_by_its_session(connection: Connection) -> None:
    (row,) = connection.execute("SELECT held_by FROM tasks.acquire_lock('job', '1 s')").fetchall()
    assert f"process {connection.info.backend_pid}" in row[0]


def test_a_lock_never_ends_before_it_begins(connection: Connection) -> None:
    acquire(connection, "me")
    with pytest.raises(psycopg.errors.CheckViolation, match="a lock ends after it has begun"):
        connection.execute("UPDATE tasks.lock SET locked_until = started_at - interval '1 ms'")


def test_a_lock_is_freed_by_hand_whoever_has_it(connection: Connection) -> None:
    mine = acquire(connection, "me")
    free: LiteralString = "SELECT locked_by, epoch FROM tasks.free_lock('job')"
    assert connection.execute(free).fetchall() == [("me", mine.epoch)]
    assert connection.execute(free).fetchall() == []
    assert not release(connection, mine.epoch)
    assert acquire(connection, "you").acquired
