"""A position of another server is refused; after pg_upgrade it is accepted, and nothing is lost or doubled."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from outboxkit.errors import Problem
from sandbox import Isolated
from sandbox.lifetime import private
from sandbox.machine.waiting import until
from sandbox.servers.backend import Extra
from tests.integration.relay.stage import call, environment, one, publish, staged
from tests.support.stage import Stage
from tests.support.tap import Tap

SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
STORED = "SELECT system_identifier FROM relay.checkpoint"
MODE = "SELECT mode FROM relay.checkpoint"
SEEN = """
SELECT NOT EXISTS (SELECT FROM outbox.event WHERE NOT pg_visible_in_snapshot(tx, c.snapshot)) FROM relay.checkpoint AS c
"""
REFUSED = "a dump and restore renumbers transactions and the WAL"
# What a dump and restore does: each row is inserted again, by another transaction than the one in its `tx`.
RESTORE = """
CREATE TEMPORARY TABLE dumped AS SELECT * FROM outbox.event;
DELETE FROM outbox.event;
INSERT INTO outbox.event OVERRIDING SYSTEM VALUE SELECT * FROM dumped;
"""


SLOTS = "SELECT count(*) FROM pg_replication_slots"


def dropped(variables: dict[str, str]) -> None:
    assert call(variables, "slot", "drop", "--yes").code == 0


def read_to_the_end(variables: dict[str, str]) -> None:
    """Move the slot to the end of the WAL, as far as a relay has read that is the last to be stopped."""
    statement = "SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())"
    with psycopg.connect(variables["RELAY_DATABASE_URL"]) as connection:
        connection.execute(statement, [variables["RELAY_SLOT"]])


def relayed(stage: Stage, url: str, *aggregates: str) -> None:
    """Run a relay until it streams from `url`, and has published all, with an event for each aggregate."""
    relay = stage.start("relay", "run", RELAY_DATABASE_URL=url)
    until(lambda: one(url, MODE) == "wal", what="it streams", seconds=60)
    publish(url, *aggregates)
    until(lambda: one(url, SEEN), what="the stored snapshot sees all", seconds=60)
    assert relay.terminate() == 0


@pytest.mark.parametrize("leave", [dropped, read_to_the_end])
def test_a_relay_goes_on_after_pg_upgrade_with_nothing_lost_or_doubled(
    isolated: Isolated, tmp_path: Path, leave: Callable[[dict[str, str]], None]
) -> None:
    """The server is upgraded by pg_upgrade, to the same version: what it keeps and what it changes is the same."""
    with staged(isolated, tmp_path) as stage, private.postgres(Extra()) as old, private.postgres(Extra()) as new:
        new.stop()
        variables = environment(isolated, RELAY_DATABASE_URL=old.url)
        assert call(variables, "setup").code == 0
        tap = Tap(isolated.amqp_url, queue=isolated.queue("tap"), exchange=isolated.name)
        relayed(stage, old.url, "a", "b")
        publish(old.url, "while it is stopped")
        before = one(old.url, SYSTEM)
        takes_slots = one(old.url, "SELECT current_setting('server_version_num')::int >= 170000")
        if takes_slots:
            old.stop()
            with pytest.raises(Problem, match="invalid_logical_slots"):
                new.upgrade(old)
            old.start()
        leave(variables)
        old.stop()

        new.upgrade(old)
        new.start()
        assert one(new.url, SLOTS) == (1 if takes_slots and leave is read_to_the_end else 0)
        assert one(new.url, SYSTEM) != before
        variables = environment(isolated, RELAY_DATABASE_URL=new.url)
        for arguments in (["run"], ["setup"]):
            said = call(variables, *arguments)
            assert said.code == 1
            assert REFUSED in said.output
            assert "run `relay setup --accept-upgrade`" in said.output
        said = call(variables, "setup", "--accept-upgrade")
        assert said.code == 0, said.output
        assert one(new.url, STORED) == one(new.url, SYSTEM)
        assert "of this server already" in call(variables, "setup", "--accept-upgrade").output
        relayed(stage, new.url, "c")

        expected = one(new.url, "SELECT array_agg(id::text ORDER BY seq) FROM outbox.event")
    assert [delivery.message for delivery in tap.drain()] == expected
    assert len(expected) == 4


@pytest.fixture
def foreign(ready: Isolated) -> Isolated:
    """Return a database with events, and a position that was stored on another system."""
    publish(ready.database_url, *map(str, range(10)))
    with psycopg.connect(ready.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET system_identifier = '8', snapshot = pg_current_snapshot()")
    return ready


def test_a_restored_dump_is_no_upgrade(foreign: Isolated) -> None:
    with psycopg.connect(foreign.database_url) as connection:
        connection.execute(RESTORE)
    said = call(environment(foreign), "setup", "--accept-upgrade")
    assert said.code == 1
    assert "was not made by pg_upgrade" in said.output
    assert "relay setup --accept-gap" in said.output
    assert one(foreign.database_url, STORED) == "8"
    assert call(environment(foreign), "setup", "--accept-gap").code == 0
    assert one(foreign.database_url, STORED) != "8"


def test_a_snapshot_from_the_future_is_no_upgrade(foreign: Isolated) -> None:
    with psycopg.connect(foreign.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET snapshot = '9999999:9999999:'")
    assert "was not made by pg_upgrade" in call(environment(foreign), "setup", "--accept-upgrade").output


def test_a_position_without_a_snapshot_cannot_go_on_after_an_upgrade(foreign: Isolated) -> None:
    with psycopg.connect(foreign.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET mode = 'wal', lsn = '0/1', snapshot = NULL")
    said = call(environment(foreign), "setup", "--accept-upgrade")
    assert said.code == 1
    assert "no snapshot is stored" in said.output


def test_an_accepted_gap_forgets_what_another_server_numbered(foreign: Isolated) -> None:
    with psycopg.connect(foreign.database_url) as connection:
        connection.execute(RESTORE)
        connection.execute("UPDATE relay.checkpoint SET streamed = '{[1,99999999)}', making_slot = true")
    assert call(environment(foreign), "setup", "--accept-gap").code == 0
    assert one(foreign.database_url, "SELECT streamed = '{}' AND NOT making_slot FROM relay.checkpoint")
