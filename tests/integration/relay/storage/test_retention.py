"""Old partitions are dropped once every relay has published what is in them, and not a moment before."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from outboxkit import sql
from relay.core.observations import Observation, Retired
from relay.maintenance.retention import Retention
from relay.operating.setup.steps import begin_polling
from relay.storage.retention import OldPartitions
from relay.storage.sessions.session import Session
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import one, settings

KEEP = timedelta(days=7)
OLD = "2020-01-01 12:00Z"
LOCK_TIMEOUT = 3
"""Seconds. The schema has half a second, which may be over before a test on a busy machine sees the wait."""
CHECK_UNDER_LOCK = "IF outbox.unseen(name,"
TABLES = "SELECT count(*) FROM pg_class WHERE relname LIKE 'event\\_2020%%' AND relkind = 'r'"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

Connection = psycopg.Connection[Any]


@pytest.fixture
def old(isolated: Isolated) -> Isolated:
    """Return a database whose outbox has partitions of 2020, without events, and a relay that polls."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        for day in (1, 2, 3):
            connection.execute(
                f"CREATE TABLE outbox.event_2020010{day} PARTITION OF outbox.event"
                f" FOR VALUES FROM ('2020-01-0{day} 00:00Z') TO ('2020-01-0{day + 1} 00:00Z')".encode()
            )
    relay(isolated, "relay")
    return isolated


def relay(isolated: Isolated, name: str) -> None:
    """Set up a relay that has published everything that is committed now."""
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        begin_polling(connection, settings(isolated, source="polling", name=name))


def published(isolated: Isolated, name: str = "relay") -> None:
    """Store that a relay has published everything that is committed now."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("UPDATE relay.checkpoint SET snapshot = pg_current_snapshot() WHERE name = %s", [name])


def write(connection: Connection, *aggregates: str, at: str = OLD) -> list[str]:
    """Write an event for each aggregate, created `at`; return their ids."""
    insert = (
        "INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)"
        " SELECT 'order', id, 1, 'paid', '{}', %s FROM unnest(%s::text[]) AS id RETURNING id::text"
    )
    return [row[0] for row in connection.execute(insert, [at, list(aggregates)])]


def wrote(isolated: Isolated, *aggregates: str, at: str = OLD) -> list[str]:
    """Commit an event for each aggregate, created `at`; return their ids."""
    with psycopg.connect(isolated.database_url) as connection:
        return write(connection, *aggregates, at=at)


def drop(url: str, partition: str = "event_20200101", isolation: str = "read committed") -> str | None:
    """Drop a partition; return what kept it from that."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT set_config('default_transaction_isolation', %s, false)", [isolation])
        row = connection.execute(sql.query("retention_drop"), {"partition": partition, "keep": KEEP}).fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0])


def alter(url: str, **replaced: str) -> None:
    """Replace texts in the definition of outbox.drop_partition."""
    find = "SELECT pg_get_functiondef('outbox.drop_partition'::regproc)"
    definition = str(one(url, find))
    for before, after in zip(replaced["before"].split("|"), replaced["after"].split("|"), strict=True):
        assert before in definition
        definition = definition.replace(before, after)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(definition.encode())


NUMBERS = "SELECT (range_agg(int8range(seq, seq, '[]')), max(tx))::text FROM outbox.event"


@contextmanager
def dropping(url: str) -> Iterator[Future[str | None]]:
    """Drop a partition while the block runs, which begins when that waits for a lock."""
    with ThreadPoolExecutor(1) as pool:
        dropped = pool.submit(drop, url)
        until(lambda: one(url, WAITS) or dropped.done(), what="the drop waits", seconds=10, every=0.005)
        assert not dropped.done(), dropped.result()
        yield dropped


def test_what_every_relay_has_published_is_dropped_and_accounted_for(old: Isolated) -> None:
    url, ids = old.database_url, wrote(old, "a", "b", "c")
    one(url, "SELECT nextval('outbox.event_seq_seq')")  # a number that a rollback left out
    ids += wrote(old, "d")
    assert drop(url) == "it has events that were not published by relay 'relay'"
    published(old)
    expected = one(
        url, "SELECT (count(*), max(seq), sum(hashtextextended(id::text, 0)::numeric))::text FROM outbox.event"
    )
    numbers = one(url, NUMBERS)

    assert drop(url) is None

    assert one(url, "SELECT count(*) FROM outbox.event") == 0
    assert one(url, "SELECT (events, last_seq, ids_hash)::text FROM outbox.retired") == expected
    assert one(url, "SELECT (seqs, last_tx)::text FROM outbox.retired") == numbers
    assert one(url, "SELECT relay.count_of(seqs) FROM outbox.retired") == len(ids)
    assert one(url, "SELECT last_id::text FROM outbox.retired WHERE partition = 'event_20200101'") == ids[-1]


def test_it_is_not_the_time_of_creation_that_says_what_is_published(old: Isolated) -> None:
    """A writer sets created_at. What it wrote into an old day counts as published when a snapshot sees it."""
    wrote(old, "a")
    published(old)
    wrote(old, "late")
    assert "not published" in str(drop(old.database_url))
    published(old)
    assert drop(old.database_url) is None


def test_a_relay_that_is_behind_or_unknown_keeps_the_partition_and_is_named(old: Isolated) -> None:
    relay(old, "behind")
    wrote(old, "a")
    published(old)
    assert drop(old.database_url) == "it has events that were not published by relay 'behind'"

    with psycopg.connect(old.database_url, autocommit=True) as connection:
        published(old, "behind")
        # The position of a version that stored no snapshot, of one that stored no outbox, and of another server.
        for change in (
            "mode = 'wal', lsn = '0/1', snapshot = NULL",
            "mode = 'wal', lsn = '0/1', snapshot = NULL, outboxes = NULL",
            "system_identifier = '8'",
        ):
            connection.execute(f"UPDATE relay.checkpoint SET {change} WHERE name = 'behind'".encode())  # noqa: S608 - a constant
            assert drop(old.database_url) == "it is not known what was published by relay 'behind'"
            connection.execute("DELETE FROM relay.checkpoint WHERE name = 'behind'")
            relay(old, "behind")
        connection.execute("DELETE FROM relay.checkpoint")
    assert drop(old.database_url) == "no relay reads this outbox"
    assert one(old.database_url, TABLES) == 3


def test_a_transaction_that_a_stored_snapshot_does_not_see_keeps_only_its_own_partition(old: Isolated) -> None:
    with closing(psycopg.connect(old.database_url)) as writer:
        write(writer, "open", at="2020-01-02 12:00Z")
        wrote(old, "a")
        published(old)
        writer.commit()
    assert drop(old.database_url) is None
    assert "not published" in str(drop(old.database_url, "event_20200102"))
    assert one(old.database_url, "SELECT aggregate_id FROM outbox.event") == "open"


@pytest.mark.parametrize("check", ["under the lock", "before the lock"])
def test_a_row_that_is_committed_while_the_drop_waits_is_not_lost(check: str, old: Isolated) -> None:
    """The control checks first and locks then, and loses the row: this test can see that."""
    url = old.database_url
    alter(url, before="'500ms'", after="'30s'")
    if check == "before the lock":
        alter(url, before=CHECK_UNDER_LOCK, after=f"IF false AND {CHECK_UNDER_LOCK[3:]}")
    with closing(psycopg.connect(url)) as writer:
        write(writer, "late")
        published(old)
        with dropping(url) as dropped:
            writer.commit()
            obstacle = dropped.result()
    rows = one(url, "SELECT count(*) FROM outbox.event WHERE aggregate_id = 'late'")
    if check == "before the lock":
        assert (obstacle, rows) == (None, 0)
    else:
        assert (obstacle, rows) == ("an event was written into it just now", 1)
        published(old)
        assert drop(url) is None


def test_a_row_that_is_committed_and_published_after_the_count_is_counted_before_it_is_dropped(old: Isolated) -> None:
    url = old.database_url
    alter(url, before="'500ms'", after="'30s'")
    with closing(psycopg.connect(url)) as writer:
        write(writer, "late")
        with dropping(url) as dropped:
            writer.commit()
            # The drop waits for this lock too: so the row is published before it goes on.
            assert dropped.result() == "an event was written into it just now"
    published(old)
    assert drop(url) is None
    assert one(url, "SELECT events FROM outbox.retired") == 1


def test_a_transaction_with_one_snapshot_for_all_statements_cannot_drop(old: Isolated) -> None:
    """It would not see what was committed while it waited."""
    for isolation in ("repeatable read", "serializable"):
        with pytest.raises(psycopg.errors.InvalidTransactionState, match="must see what is committed"):
            drop(old.database_url, isolation=isolation)


@pytest.mark.parametrize("limit", ["limited", "unlimited"])
def test_writers_wait_no_longer_than_the_drop_does(limit: str, old: Isolated, record_property: Any) -> None:  # noqa: ANN401
    """A transaction stays open, the drop waits for it, and writers wait behind the drop. The control has no limit."""
    url = old.database_url
    alter(url, before="'500ms'", after="'0'" if limit == "unlimited" else f"'{LOCK_TIMEOUT}s'")
    with closing(psycopg.connect(url)) as blocker, ThreadPoolExecutor(1) as pool:
        write(blocker, "open", at="2021-01-01Z")
        with dropping(url) as dropped:
            began = time.monotonic()
            written = pool.submit(wrote, old, "w", at="2021-01-01Z")
            if limit == "unlimited":
                with pytest.raises(TimeoutError):
                    written.result(2 * LOCK_TIMEOUT)
            else:
                assert written.result(10)
                waited = time.monotonic() - began
                record_property("report", f"a writer waited for {waited:.3f} s")
                assert waited < 3 * LOCK_TIMEOUT
                assert dropped.result() == "it is in use: a transaction that is open has a lock on the outbox"
            blocker.rollback()
    assert one(url, "SELECT count(*) FROM outbox.event WHERE aggregate_id = 'w'") == 1


def test_a_dependent_view_keeps_the_partition_and_is_named(old: Isolated) -> None:
    with psycopg.connect(old.database_url) as connection:
        connection.execute("CREATE VIEW report AS SELECT * FROM outbox.event_20200101")
    assert "other objects depend on it" in str(drop(old.database_url))
    assert drop(old.database_url, "event_20200102") is None


def test_two_at_the_same_time_drop_each_partition_once(old: Isolated) -> None:
    url = old.database_url
    wrote(old, *map(str, range(1000)))
    published(old)
    names = [f"event_2020010{day}" for day in (1, 2, 3)]
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(drop, url, name) for _ in range(4) for name in names]
    said = {each.result() for each in results}
    assert said <= {
        None, "somebody else is dropping partitions", "it is not old enough, or there is no such partition",
        "it is in use: a transaction that is open has a lock on the outbox",
    }  # fmt: skip
    for name in names:
        drop(url, name)
    assert one(url, TABLES) == 0
    assert one(url, "SELECT array_agg(partition || ' ' || events ORDER BY partition) FROM outbox.retired") == [
        "event_20200101 1000", "event_20200102 0", "event_20200103 0",
    ]  # fmt: skip


def test_the_default_partition_is_drained_of_what_is_old_and_published(old: Isolated) -> None:
    url = old.database_url
    ids = wrote(old, *map(str, range(25)), at="2021-06-01Z")
    wrote(old, "young", at="now")
    with psycopg.connect(url, autocommit=True) as connection:
        drain = "SELECT outbox.drain_default(%s, 10)"
        assert connection.execute(drain, [KEEP]).fetchone() == (0,)
        published(old)
        wrote(old, "unpublished", at="2021-06-01Z")
        assert connection.execute("SELECT outbox.old_in_default(%s)", [KEEP]).fetchone() == (25,)
        assert [connection.execute(drain, [KEEP]).fetchone() for _ in range(4)] == [(10,), (10,), (5,), (0,)]
    assert one(url, "SELECT array_agg(aggregate_id ORDER BY seq) FROM outbox.event") == ["young", "unpublished"]
    hashes = "SELECT sum(hashtextextended(id, 0)::numeric) FROM unnest(%s::text[]) AS id"
    assert one(url, "SELECT sum(ids_hash) FROM outbox.retired WHERE partition = 'event_default'") == one(
        url, hashes, ids
    )
    assert one(url, "SELECT sum(events) FROM outbox.retired") == 25
    assert one(url, "SELECT sum(relay.count_of(seqs)) FROM outbox.retired") == 25


def test_the_service_drops_what_may_be_dropped_and_goes_on_after_what_may_not(old: Isolated) -> None:
    wrote(old, "a")
    wrote(old, "b", at="2021-06-01Z")
    published(old)
    wrote(old, "unpublished", at="2020-01-02 12:00Z")
    seen: list[Observation] = []

    async def serve() -> None:
        async with Session(
            lambda: old.database_url, name="test retention", slot=old.name, prepared=("session_retention",)
        ) as session:
            run = Retention(OldPartitions(session, KEEP), seen.append).run
            await run()
            assert seen == [Retired("event_20200101"), Retired("event_20200103")]
            published(old)
            await run()
            await run()

    asyncio.run(serve())
    assert seen[2:] == [Retired("event_20200102")]
    assert one(old.database_url, "SELECT count(*) FROM outbox.event") == 0
