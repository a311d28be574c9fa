"""The relay's own process: killed, frozen, replaced, stopped; alone, or with a standby."""

import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from tests.faults.judging import grown
from tests.faults.run import MORE_RESIDENT, REPEATED, Fault, Run
from tests.support.commands import Command
from tests.support.wire import amqp

_KILLS = 10
_NAMED_KILLS = 4
_PUBLISHED = 200
_LARGE = 1_000_000
_LARGE_SECONDS = 600
_WIDE = "1000"
_RESTARTS = 50
# The first connection to the broker is the first relay's.
FIRST = 0
BULK = 5_000
_SILENT = 10
"""Seconds after which Postgres ends the session that makes a relay the active one, if nothing comes from it."""
_RELOAD = "SELECT pg_reload_conf()"
# In addition to the time that the standby needs to take over.
_FROZEN = 10
_SHORT_TIMEOUT = "ALTER DATABASE {} SET wal_sender_timeout = '4s'"
# How long a standby may take after the active relay's session has ended: it looks every two seconds, and then starts to
# stream, on a machine that others use too.
_TAKE_OVER = 20


def killed_at_random(run: Run) -> None:
    """Kill it ten times, while it starts or while it streams."""
    for _ in range(_KILLS):
        relay = run.start_relay()
        if run.draw.random() < 0.8:
            relay.logged("streaming")
        assert relay.outlives(run.draw.uniform(0, 0.8)), relay.tail()
        relay.kill()
    run.healed()
    run.streaming_relay()


def killed_before_the_confirm(run: Run) -> None:
    """Kill it when it has published messages and received no confirm."""
    for _ in range(_NAMED_KILLS):
        relay = run.streaming_relay()
        run.broker.swallow_to_client.set()
        assert relay.outlives(run.draw.uniform(0.1, 0.4)), relay.tail()
        relay.kill()
        run.broker.swallow_to_client.clear()
        run.broker.cut()
    run.healed()
    run.streaming_relay()


def killed_after_the_confirm(run: Run) -> None:
    """Kill it when messages are confirmed and not yet reported to Postgres as flushed."""
    for _ in range(_NAMED_KILLS):
        relay = run.streaming_relay()
        run.postgres.swallow_to_server.set()
        run.flows(_PUBLISHED)
        relay.kill()
        run.postgres.swallow_to_server.clear()
        run.postgres.cut()
    run.healed()
    run.streaming_relay()


def killed_in_a_large_transaction(run: Run) -> None:
    """Kill it in the middle of one transaction of 1,000,000 events."""
    first = run.streaming_relay(RELAY_MAX_IN_FLIGHT=_WIDE)
    run.stop_load()
    run.stage.confirmed()
    run.commit(_LARGE, "large")
    run.flows(round(_LARGE * run.draw.uniform(0.1, 0.4)), seconds=_LARGE_SECONDS)
    assert not grown(run, first, by=MORE_RESIDENT)
    first.kill()
    run.start_load()
    run.healed()
    run.streaming_relay(_LARGE_SECONDS, RELAY_MAX_IN_FLIGHT=_WIDE)


def frozen(run: Run) -> None:
    """Freeze it in a large transaction until a standby has taken over; when it is woken, it must publish nothing."""
    run.alter_database(_SHORT_TIMEOUT)
    _frozen(run, lambda: None)


def frozen_after_a_change(run: Run) -> None:
    """As before, but wal_sender_timeout was lowered when it streamed already."""
    _frozen(run, lambda: run.borrow(_lower_timeout(run)))


@contextmanager
def _lower_timeout(run: Run) -> Iterator[None]:
    """Lower it for the whole server, as an operator does."""
    with psycopg.connect(run.stage.isolated.database_url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_sender_timeout = '2s'")
        connection.execute(_RELOAD)
    try:
        yield
    finally:
        with psycopg.connect(run.stage.isolated.database_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM RESET wal_sender_timeout")
            connection.execute(_RELOAD)


def _frozen(run: Run, change: Callable[[], None]) -> None:
    publishes = Publishes()
    run.listen(publishes)
    first, second = _pair(run)
    change()
    published = run.tap.waiting()
    run.commit(BULK, "bulk")
    run.tap.grows(published)
    first.process.send_signal(signal.SIGSTOP)  # with messages that are not sent yet, and confirms that it has not read
    second.logged("streaming", seconds=_SILENT + _TAKE_OVER)
    run.flows(BULK, seconds=60)
    assert second.outlives(_FROZEN), second.tail()
    before = publishes.on[FIRST]
    assert before, "the first relay published nothing"
    first.process.send_signal(signal.SIGCONT)
    run.healed()
    first.logged("standby")
    assert publishes.on[FIRST] == before, "it published after it was woken"
    reason = first.logged("source not available")["reason"]
    assert "stood still" in reason, reason
    assert second.terminate() == 0, second.tail()
    run.flows()


class Publishes:
    """Counts the messages that each connection to the broker carried."""

    def __init__(self) -> None:
        self.on: Counter[int] = Counter()
        self._sessions: defaultdict[int, amqp.Session] = defaultdict(amqp.Session)

    def __call__(self, connection: int, to_server: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's Watch
        facts = self._sessions[connection].feed(data, to_server=to_server)
        self.on[connection] += sum(isinstance(fact, amqp.Published) for fact in facts)


def _pair(run: Run, **settings: str) -> tuple[Command, Command]:
    """Start a relay that streams, and with `settings` a standby, which must name the first one as the active one."""
    first = run.streaming_relay()
    holder = run.stage.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'relay leader'")
    second = run.start_relay(**settings)
    reason = second.logged("standby")["reason"]
    assert "is active elsewhere: 'relay leader'" in reason, reason
    assert f"pid {holder}," in reason, reason
    return first, second


def holder_killed(run: Run) -> None:
    """Kill the holder of the slot, and keep the end of its connection from Postgres."""
    run.alter_database(_SHORT_TIMEOUT)
    first, second = _pair(run, RELAY_DATABASE_URL=run.stage.isolated.database_url)
    run.postgres.swallow_to_server.set()
    run.flows(50)
    run.healed()
    first.kill()
    second.logged("streaming", seconds=_SILENT + _TAKE_OVER)
    run.flows()


def restarted_rolling(run: Run) -> None:
    """Stop the holder fifty times, each time with a standby."""
    relay = run.streaming_relay()
    for _ in range(_RESTARTS):
        standby = run.start_relay()
        standby.logged("standby")
        assert relay.outlives(run.draw.uniform(0, 0.2)), relay.tail()
        assert relay.terminate() == 0, relay.tail()
        standby.logged("streaming", seconds=_SILENT)  # it does not wait for the end of a silent session
        relay = standby
    run.healed()
    run.flows()


FAULTS = (
    Fault("relay killed at random", killed_at_random, duplicates=_KILLS * REPEATED),
    Fault("relay killed before the confirm", killed_before_the_confirm, duplicates=_NAMED_KILLS * REPEATED),
    Fault(
        "relay killed after the confirm",
        killed_after_the_confirm,
        duplicates=_NAMED_KILLS * (2 * _PUBLISHED + REPEATED),
    ),
    Fault(
        "relay killed in a transaction of a million events",
        killed_in_a_large_transaction,
        duplicates=_LARGE // 2,
        recovers_within=_LARGE_SECONDS,
        seeds=1,
    ),
    Fault("relay woken after it was frozen and replaced", frozen, duplicates=BULK + REPEATED),
    Fault("relay woken after wal_sender_timeout was lowered", frozen_after_a_change, duplicates=BULK + REPEATED),
    Fault("holder of the slot killed unnoticed", holder_killed, duplicates=2 * REPEATED),
    Fault("fifty rolling restarts", restarted_rolling, duplicates=0),
)
