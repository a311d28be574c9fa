"""What a restart of the server takes back: commits that were not flushed, whose ids are given out again, or days.

A commit with synchronous_commit=off is visible before it is flushed. An older copy of the database gives the ids of
everything behind it out again.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from relay.core.errors import PositionLost
from relay.core.position import Snapshot
from relay.sources.polling.reading import Reading
from relay.sources.polling.statements import statements
from relay.storage.facts import Facts
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from sandbox.servers.postgres import Postgres
from tests.integration.relay.sources.handover.recorder import Made, Recorder
from tests.integration.relay.sources.handover.scene import RIGHT, Scene, Verdict, without_the_flush
from tests.support.server import server_started_at

TRIES = 4
"""The WAL writer may still come between a commit and the crash."""


@pytest.fixture(autouse=True)
def _unflushed(server: Postgres) -> Iterator[None]:
    """Let what is not flushed stay so for up to 10 s: the WAL writer would flush it after 200 ms."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.execute("SELECT pg_reload_conf()")
    yield
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET wal_writer_delay")
        connection.execute("SELECT pg_reload_conf()")


def play_taken_back(scene: Scene) -> Verdict:
    """Poll a commit that is not flushed, and crash the server."""
    scene.begin()
    with scene.relay(Made(source="polling", stores=False)) as relay:
        relay.reads_on()
        with psycopg.connect(scene.url) as writer:
            writer.execute("SET synchronous_commit = off")
            writer.execute("SELECT outbox.publish('thing', 'not flushed', 1, 'changed', '{}')")
        scene.has("not flushed")
        scene.server.stop("immediate")
    scene.server.start()
    return scene.verdict()


def test_what_is_published_was_flushed_before(scene: Scene) -> None:
    assert play_taken_back(scene) == RIGHT


def test_a_poll_that_does_not_wait_for_the_flush_publishes_what_a_crash_takes_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_flush(monkeypatch)
    verdict = play_taken_back(scene)
    for _ in range(TRIES - 1):
        if verdict == RIGHT:  # it was flushed
            scene.execute("DELETE FROM outbox.event")
            scene.published.clear()
            verdict = play_taken_back(scene)
    assert verdict == Verdict([], [], ["not flushed"])


class KeepsItsMemory(StoredPosition):
    """Goes on from what it remembers, whatever server it is and whoever wrote the row."""

    def wrote(self, facts: Facts) -> bool:
        del facts
        return True


@pytest.mark.parametrize(
    ("flushes", "positions", "missing"),
    [
        (True, StoredPosition, []),
        (False, StoredPosition, []),
        (True, KeepsItsMemory, []),
        (False, KeepsItsMemory, ["with an id of before"]),
    ],
    ids=["right", "without the flush", "memory kept", "neither"],
)
def test_an_id_that_is_given_out_again_after_a_crash_is_a_new_transaction(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    flushes: bool,  # noqa: FBT001 - a parameter of the test
    positions: type[StoredPosition],
    missing: list[str],
) -> None:
    """Empty polls have seen it. What they saw is flushed first, and what a relay remembers ends with the server."""
    if not flushes:
        without_the_flush(monkeypatch)
    scene.begin()
    scene.execute("CREATE TABLE noise (x integer)")
    with scene.relay(Made(source="polling", stores=False, positions=positions)) as relay:
        relay.reads_on()
        again = any(given_out_again(scene, relay, flushes=flushes) for _ in range(1 if flushes else TRIES))
        relay.reads_on()
        while "behind" not in {each.name for each in scene.published}:
            scene.write("behind")  # until its id is one that was not given out before
        relay.reads_on()
    assert again is not flushes
    assert scene.verdict().missing == missing


def given_out_again(scene: Scene, relay: Recorder, *, flushes: bool) -> bool:
    """Crash the server behind commits that only the relay may have flushed, and return whether an event gets their id.

    Without the relay's flush, it is committed only if it does.
    """
    flushed, seen = True, 0
    while flushed:
        before = scene.value("SELECT pg_current_wal_insert_lsn()::text")
        with psycopg.connect(scene.url) as writer:
            writer.execute("SET synchronous_commit = off")
            for _ in range(50):
                writer.execute("INSERT INTO noise VALUES (1)")
                writer.commit()
        seen = int(scene.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))
        relay.reads_on()  # it sees all ids below; those that are drawn meanwhile it need not see, nor flush
        # Somebody else may have flushed; the relay has, if it is right.
        flushed = not flushes and scene.value("SELECT pg_current_wal_flush_lsn() > %s::pg_lsn", before)
    with relay.frozen():  # or it may see the server before the id is given out again
        scene.server.stop("immediate")
        scene.server.start()
        given = scene.writer().write("with an id of before")
        again = given.xid() < seen
        if again or flushes:
            given.commit()
        else:
            given.rollback()
    return again


def test_a_poll_ends_when_the_server_was_started_again_and_its_session_replaced(scene: Scene) -> None:
    """Nothing else tells it: Postgres has ended the idle session in order, and the next poll opens another one."""

    async def scenario() -> None:
        async with Session(lambda: scene.url, name="test poll", slot="none", prepared=["stream_formats"]) as session:
            table = await Server(session, name="relay", slot="none", table="outbox.event").table()
            reads = statements(scene.settings().layout(partitioned=table.partitioned), table, batch=10)
            reading = Reading(session, reads, batch=10, server_started_at=server_started_at(scene.url))
            begun = await reading.begin(Snapshot.parse("3:3:"), None)
            assert len(begun.rows) == 1
            await asyncio.to_thread(scene.server.stop)
            await asyncio.to_thread(scene.server.start)
            with pytest.raises(PositionLost, match="started again"):
                await reading.begin(begun.snapshot, None)

    scene.write("before the restart")
    asyncio.run(scenario())


def test_a_relay_goes_on_from_the_row_of_an_older_copy_of_the_database(scene: Scene) -> None:
    assert play_older_copy(scene, StoredPosition) == []


def test_one_that_goes_on_from_its_memory_loses_what_gets_the_same_ids(scene: Scene) -> None:
    assert play_older_copy(scene, KeepsItsMemory) == ["after the copy"]


def play_older_copy(scene: Scene, positions: type[StoredPosition]) -> list[str]:
    """Put an older copy of the whole server in its place while the relay runs; return what is missing."""
    scene.begin()
    scene.write("before the copy")
    with scene.relay(Made(source="polling")):
        scene.has("before the copy")
    scene.server.stop()
    cluster = scene.server.cluster
    copy = cluster.with_name("copy")
    subprocess.run(["/bin/cp", "-a", cluster, copy], check=True)
    scene.server.start()
    with scene.relay(Made(source="polling", positions=positions)) as relay:
        scene.write(*(f"gone {number}" for number in range(30)))
        scene.has("gone 29")
        with relay.frozen():
            scene.server.stop()
            shutil.rmtree(cluster)
            copy.rename(cluster)
            scene.server.start()
            scene.write("after the copy")
        relay.reads_on()
        while "behind" not in {each.name for each in scene.published}:
            scene.write("behind")  # until its id is one that was not given out before
        relay.reads_on()
    return scene.verdict().missing
