"""Pollers that share a table, as processes: no row twice, none missing, whatever happens to one of them."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import staged
from tests.support.commands import Command
from tests.support.proxy import Proxy
from tests.support.roles import alter, role
from tests.support.stage import Stage
from tests.support.tap import Tap

BATCH = 500
SHARED = {
    "RELAY_SOURCE": "polling",
    "RELAY_POLL_STRATEGY": "skip_locked",
    "RELAY_POLL_INTERVAL": "0.1",
    "RELAY_POLL_BATCH": str(BATCH),
    "RELAY_MAX_IN_FLIGHT": "1000",
}
ROWS = 20_000
SLOW = 300_000
"""Bytes per second: all rows take so long that even a test that is late kills a poller in the middle of them."""
_STARTS = 120.0
"""Seconds: several processes start on a machine that others use too."""
_GRANTS: tuple[LiteralString, ...] = (
    "GRANT USAGE ON SCHEMA outbox_setup TO {}",
    "GRANT SELECT ON outbox_setup.applied, outbox.event TO {}",
    "GRANT SELECT, INSERT, DELETE ON relay.mark TO {}",
)


@pytest.fixture
def bare(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage without a slot."""
    with staged(isolated, tmp_path) as stage:
        yield stage


def pollers(stage: Stage, count: int, **settings: str) -> list[Command]:
    commands = [stage.start("relay", "run", **{**SHARED, **settings}) for _ in range(count)]
    for command in commands:
        command.logged("streaming", seconds=_STARTS)
    return commands


def drained(tap: Tap, count: int) -> list[str]:
    """Return the ids of the messages, once there are `count` or more."""
    tap.grows(count - 1, seconds=_STARTS)
    return [delivery.message for delivery in tap.drain()]


def rest(tap: Tap) -> list[str]:
    """Return the ids of the messages that have come since, if any have."""
    return [delivery.message for delivery in tap.drain()] if tap.waiting() else []


def committed(stage: Stage, count: int, parts: int = 20) -> list[str]:
    """Commit `count` events in `parts` transactions; return their ids."""
    return [
        str(each) for part in range(parts) for each in stage.publish_in_one_transaction(count // parts, f"bulk {part}")
    ]


def confirmed(command: Command) -> int:
    return sum(line["confirmed"] for line in command.log if line["event"] == "stopped")


def test_four_pollers_publish_each_row_once(bare: Stage) -> None:
    tap = bare.set_up(**SHARED)
    started = pollers(bare, 4)
    ids = committed(bare, ROWS)

    got = drained(tap, ROWS)

    assert [command.terminate() for command in started] == [0, 0, 0, 0]
    got += rest(tap)
    assert (len(got), len(set(got))) == (ROWS, ROWS)
    assert set(got) == set(ids)
    shares = [confirmed(command) for command in started]
    assert sum(shares) == ROWS
    assert sum(share > 0 for share in shares) > 1, "one poller has published everything, so nothing was shared"


def test_the_rows_of_a_poller_that_is_killed_go_again_and_a_stop_finishes_its_batch(bare: Stage) -> None:
    tap = bare.set_up(**SHARED)
    with Proxy(bare.isolated.amqp_url) as proxy:
        proxy.slow(SLOW)
        killed, stopped = pollers(bare, 2, RELAY_AMQP_URL=proxy.url)
        ids = committed(bare, ROWS, parts=1)  # the pollers see nothing of it before the test goes on
        tap.grows(BATCH)
        killed.kill()
        assert stopped.terminate() == 0
    assert tap.waiting() < ROWS, "everything was published before, so nothing is left to go again"

    pollers(bare, 1)
    until(
        lambda: bare.value(
            "SELECT count(*) = 0 FROM outbox.event AS e, relay.checkpoint AS c"
            " WHERE NOT pg_visible_in_snapshot(e.tx, c.snapshot)"
            " AND NOT EXISTS (SELECT FROM relay.mark WHERE key = e.seq::text)"
        ),
        what="every row is published",
        seconds=_STARTS,
    )

    got = [delivery.message for delivery in tap.drain()]
    assert set(got) == set(ids)
    assert len(got) - len(ids) <= BATCH


def test_the_rows_of_a_poller_that_is_frozen_are_published_by_another_and_not_by_it(bare: Stage) -> None:
    """It is stopped while it waits for the confirms of a part of its batch, and gets them when it wakes."""
    tap, sent = bare.set_up(**SHARED), BATCH // 5
    with Proxy(bare.isolated.amqp_url) as proxy:
        (frozen,) = pollers(bare, 1, RELAY_AMQP_URL=proxy.url, RELAY_MAX_IN_FLIGHT=str(sent))
        proxy.hold()
        ids = committed(bare, BATCH, parts=1)
        tap.grows(sent - 1)
        frozen.process.send_signal(signal.SIGSTOP)  # soon: after 5 s without an answer it would give the link up
        ids += committed(bare, ROWS - BATCH)
        (other,) = pollers(bare, 1)
        got = drained(tap, ROWS + sent)

        frozen.process.send_signal(signal.SIGCONT)
        proxy.release()

        frozen.complains("stood still", seconds=_STARTS)
        assert [frozen.terminate(), other.terminate()] == [0, 0]
    assert (set(got), len(got), rest(tap)) == (set(ids), ROWS + sent, [])


def test_a_role_that_may_lock_rows_and_not_change_them_is_enough(bare: Stage) -> None:
    tap = bare.set_up(**SHARED)
    url = bare.isolated.database_url
    with role(url, "LOGIN", "secret") as as_role:
        for grant in _GRANTS:
            alter(url, grant, _name(as_role))
        settings = {**SHARED, "RELAY_DATABASE_URL": as_role}
        refused = bare.run("relay", "run", **settings)
        assert refused.process.returncode == 1, refused.tail()
        assert "`relay check` names what the relay's role lacks" in refused.stderr
        checked = bare.run("relay", "check", **settings)
        assert 'GRANT UPDATE (seq) ON "outbox"."event" TO' in checked.stdout

        alter(url, "GRANT UPDATE (seq) ON outbox.event TO {}", _name(as_role))
        pollers(bare, 1, RELAY_DATABASE_URL=as_role)
        ids = committed(bare, 100, parts=1)
        assert sorted(drained(tap, 100)) == sorted(ids)
        with psycopg.connect(as_role) as connection, pytest.raises(psycopg.errors.GeneratedAlways):
            connection.execute("UPDATE outbox.event SET seq = 1")


def _name(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["user"])


_KINDS = {"bigint": "n", "uuid": "gen_random_uuid()", "text": "'no ' || n", "numeric(20)": "n"}


@pytest.mark.parametrize("kind", _KINDS)
def test_a_table_without_tx_is_shared_whatever_its_ids_are(kind: str, bare: Stage) -> None:
    settings = {
        **SHARED, "RELAY_OUTBOX_TABLE": "public.events", "RELAY_OUTBOX_LAYOUT": "debezium",
        "RELAY_POLL_LOCK": "advisory",
    }  # fmt: skip
    columns = "aggregatetype text, aggregateid text, type text, payload json"
    insert = (
        f"INSERT INTO public.events SELECT {_KINDS[kind]}, 'order', n::text, 'paid', '{{}}'"  # noqa: S608 - no input
        " FROM generate_series(%s::integer, %s::integer) AS n RETURNING id::text"
    ).encode()
    with psycopg.connect(bare.isolated.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE public.events (id {kind}, {columns})".encode())
        connection.execute(insert, [1, 10])  # these count as published
        refused = bare.run("relay", "setup", **settings)
        assert refused.process.returncode == 1
        remedy = refused.stderr.partition("CREATE UNIQUE")
        connection.execute((remedy[1] + remedy[2].rstrip()).encode())
        tap = bare.set_up(**settings)

        pollers(bare, 2, **settings)
        ids = [row[0] for row in connection.execute(insert, [11, 310]).fetchall()]
        got = drained(tap, 300)

    assert sorted(got) == sorted(ids)


def test_one_poller_is_active_if_that_is_asked_for_and_none_beside_a_relay_that_keeps_an_order(bare: Stage) -> None:
    bare.set_up(**SHARED)
    (active,) = pollers(bare, 1, RELAY_POLL_LEADER="true")
    second = bare.start("relay", "run", **SHARED, RELAY_POLL_LEADER="true")
    second.logged("standby", seconds=_STARTS)
    in_order = bare.start("relay", "run", RELAY_SOURCE="polling")
    in_order.logged("standby", seconds=_STARTS)

    assert active.terminate() == 0
    until(
        lambda: any(line["event"] == "streaming" for each in (second, in_order) for line in each.log),
        what="one of them takes over",
        seconds=_STARTS,
    )


def test_status_counts_the_pollers(bare: Stage) -> None:
    bare.set_up(**SHARED)
    pollers(bare, 2)

    shown = bare.run("relay", "status", **SHARED)

    assert shown.process.returncode == 0, shown.tail()
    lines = {line.split()[0]: line.split()[1:] for line in shown.stdout.splitlines() if line.split()}
    assert (lines["pollers"], lines["standbys"], lines["mode"]) == (["2"], ["0"], ["polling"])
