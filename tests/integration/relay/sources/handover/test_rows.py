"""Rows that are not what they seem: frozen, moved, in a table that was rewritten, or seen by a standby."""

import threading

import psycopg
import pytest

from outboxkit import sql
from outboxkit.errors import Problem
from sandbox.lifetime import private
from sandbox.machine.waiting import until
from tests.integration.relay.sources.handover.scene import RIGHT, Scene, Verdict
from tests.integration.relay.sources.handover.stream import Poller

# From PostgreSQL 17 on, a table with an identity column of its own cannot be attached.
ALIKE = "LIKE outbox.event INCLUDING ALL EXCLUDING IDENTITY"


def replaced(monkeypatch: pytest.MonkeyPatch, where: str, **texts: str) -> None:
    """Put other statements in the place of some."""
    query = sql.query
    monkeypatch.setattr(f"{where}.sql.query", lambda name: texts.get(name) or query(name))


def frozen_under_a_poll(scene: Scene) -> list[str]:
    """Attach a partition, loaded with frozen rows, between a poll's snapshot and its rows; poll twice."""
    scene.execute("DROP TABLE outbox.event_default")  # an ATTACH would wait for the poll's lock on it
    poller = Poller(scene)
    writer = scene.writer()
    writer.execute(f"CREATE TABLE loaded ({ALIKE})")
    later = scene.writer()
    assert writer.xid() < later.xid()
    later.rollback()  # the snapshot's end lies above the loading transaction: it is running

    def load() -> None:
        writer.copy(
            "COPY loaded (seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)"
            " FROM stdin (FREEZE)",
            *(1, "thing", "frozen", 1, "changed", "{}", "2020-01-02 00:00:00+00"),
        )
        writer.execute(
            "ALTER TABLE outbox.event ATTACH PARTITION loaded FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"
        )
        writer.commit()

    return [*poller.poll(load), *poller.poll(), *poller.poll()]


def test_a_frozen_row_is_polled_once_although_every_snapshot_sees_it(scene: Scene) -> None:
    scene.write("frozen later")
    poller = Poller(scene)
    scene.write("new")
    scene.execute("VACUUM (FREEZE) outbox.event")
    assert [poller.poll(), poller.poll()] == [["new"], []]
    assert frozen_under_a_poll(scene) == ["frozen"]


def test_without_the_condition_on_tx_a_frozen_row_comes_twice(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = sql.query("poll_unseen").replace("pg_visible_in_snapshot(tx, %(now)s::pg_snapshot)", "%(now)s <> ''")
    assert unseen != sql.query("poll_unseen")
    replaced(monkeypatch, "relay.sources.polling.statements", poll_unseen=unseen)
    assert frozen_under_a_poll(scene) == ["frozen", "frozen"]


def rewritten_under_a_poll(scene: Scene, poller: Poller) -> list[str]:
    """Rewrite the table between a poll's snapshot and its rows, if the poll lets it; poll twice."""
    scene.write("before")
    with psycopg.connect(scene.url, autocommit=True) as connection:
        altering = threading.Thread(
            target=connection.execute,
            args=("ALTER TABLE outbox.event ADD COLUMN added uuid DEFAULT gen_random_uuid()",),
        )
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND pid = %s"

        def alter() -> None:
            altering.start()
            until(
                lambda: not altering.is_alive() or scene.execute(waits, connection.info.backend_pid),
                what="the table is rewritten, or its lock is waited for", seconds=60,
            )  # fmt: skip

        found = poller.poll(alter)
        altering.join()
    return [*found, *poller.poll()]


def test_a_table_is_not_rewritten_between_a_polls_snapshot_and_its_rows(scene: Scene) -> None:
    assert rewritten_under_a_poll(scene, Poller(scene)) == ["before"]


def test_without_the_lock_a_rewritten_table_looks_empty_and_its_rows_are_lost(scene: Scene) -> None:
    assert rewritten_under_a_poll(scene, Poller(scene, lock="SELECT 1")) == []


def play_moved(scene: Scene) -> Verdict:
    """Move a row from the default partition into one that is attached then."""
    scene.begin()
    with scene.relay():
        scene.reads("wal")
        writer = scene.writer()
        writer.execute(
            "INSERT INTO outbox.event"
            " (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)"
            " VALUES ('thing', 'moved', 1, 'changed', '{}', '2020-01-02')"
        )
        writer.commit()
        scene.has("moved")
        scene.fenced()  # its position is stored: with other partitions that would be refused, and it would come again
        writer.execute(f"CREATE TABLE outbox.event_2020 ({ALIKE})")
        writer.execute(
            "WITH moved AS (DELETE FROM outbox.event_default WHERE created_at < '2021-01-01' RETURNING *)"
            " INSERT INTO outbox.event_2020 OVERRIDING SYSTEM VALUE SELECT * FROM moved"
        )
        writer.execute(
            "ALTER TABLE outbox.event ATTACH PARTITION outbox.event_2020"
            " FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')"
        )
        writer.commit()
        scene.write("behind")
        scene.has("behind")
        scene.ask("polling")
        scene.write("last")
        scene.has("last")
    return scene.verdict()


def test_a_row_that_is_moved_between_partitions_is_no_new_event(scene: Scene) -> None:
    assert play_moved(scene) == RIGHT


def test_without_a_look_at_tx_it_is_published_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.sources.wal.decoders.wal2json.moved", lambda *_: False)
    assert play_moved(scene) == Verdict([], ["moved"], [])


_STANDBYS: dict[str, str] = {
    "poll_begin": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "poll_snapshot": "SELECT pg_current_snapshot()::text, '0/0', pg_postmaster_start_time()",
    "poll_flush": "SELECT %(written)s::text",
}


def test_the_snapshot_of_a_standby_is_refused_and_would_lose_what_is_running(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby's snapshot says of no transaction that it is running, so it seems to see those that are."""
    with private.standby(scene.server) as standby:
        there = scene.url.replace(scene.server.url.rpartition("/")[0], standby.url.rpartition("/")[0])
        poller, control = Poller(scene), Poller(scene, url=there)
        running = scene.writer().write("running")
        scene.write("committed")
        end = scene.value("SELECT pg_current_wal_flush_lsn()::text")
        with psycopg.connect(there, autocommit=True) as connection:
            until(
                lambda: connection.execute("SELECT WHERE pg_last_wal_replay_lsn() >= %s::pg_lsn", [end]).rowcount,
                what="the standby has replayed", seconds=60,
            )  # fmt: skip
        with pytest.raises(Problem, match="read-write"):
            control.poll()
        replaced(monkeypatch, "relay.sources.polling.reading", **_STANDBYS)
        assert control.poll() == ["committed"]
        monkeypatch.undo()
    running.commit()
    assert [*poller.poll()] == ["running", "committed"]
    control.url = scene.url  # as after a failover
    assert control.poll() == [], "the control: what was running is lost"
