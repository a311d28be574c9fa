"""Which fences count, and where the filter of a stream ends.

Anybody may write a message that looks like a fence. One from before F says less than the last poll. And a transaction
was polled if N sees it and its commit record begins below F: its end may lie exactly there.
"""

import psycopg
import pytest

from relay.core.event import Fence
from relay.core.position import Lsn, Snapshot
from relay.core.transactions import Transactions
from relay.sources.wal.fences import Fences, ReturnedFence
from relay.sources.wal.published import Published
from relay.storage.state import Filter, State
from tests.integration.relay.sources.handover.recorder import Made
from tests.integration.relay.sources.handover.scene import RIGHT, Scene, Verdict
from tests.integration.relay.sources.handover.stream import streamed


class TakesAny(Fences):
    """Takes every fence for one of its own."""

    def read(self, fence: Fence, now: float) -> float | None:
        super().read(fence, now)
        self._returned = ReturnedFence(now, Snapshot.parse(fence.content.partition(" ")[2]))
        return None


class CountsAll(Published):
    """Takes a fence that was written before the last poll."""

    def counts(self, commits_at: Lsn) -> bool:
        del commits_at
        return True


def play_forged(scene: Scene) -> Verdict:
    """Let an ordinary role write a fence that sees all that is to come; then a slot is lost."""
    scene.begin()
    with scene.relay(Made(fence_every=3600)) as relay:
        scene.reads("wal")
        scene.write("streamed")
        scene.has("streamed")
        role = f"{scene.isolated.name}_app"
        scene.execute(f"CREATE ROLE {role}")
        try:
            with psycopg.connect(scene.url) as connection:
                connection.execute(f"SET ROLE {role}")
                connection.execute("SELECT pg_logical_emit_message(true, 'relay.fence', 'guessed:1 1000000:1000000:')")
        finally:
            scene.execute(f"DROP ROLE {role}")
        scene.write("after it")
        scene.has("after it")
        with relay.opens_nothing():  # its first poll takes another snapshot, and from then on nothing is hidden
            scene.ask("polling")
            scene.write("hidden by it")
            scene.write("behind")
        scene.ask("wal")
        scene.write("last")
        scene.has("last")
    return scene.verdict()


def test_a_fence_that_somebody_else_wrote_does_not_count(scene: Scene) -> None:
    assert play_forged(scene) == RIGHT


def test_a_relay_that_takes_any_fence_loses_what_a_forged_one_sees(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.sources.wal.stream.Fences", TakesAny)
    assert play_forged(scene) == Verdict(["behind", "hidden by it"], [], [])


def play_old_fence(scene: Scene) -> Verdict:
    """Leave a fence behind the position that was streamed last, poll, go back to the WAL, and fall back to polling."""
    scene.begin()
    with scene.relay():
        scene.reads("wal")
        scene.fenced()
        scene.ask("polling")
        scene.execute("SELECT pg_logical_emit_message(true, 'relay.fence', 'before:1 ' || pg_current_snapshot()::text)")
        scene.write("polled")
        scene.has("polled")
        scene.stored()
    with scene.relay(Made(fence_every=3600)) as relay:  # it writes no fence of its own, which would make up for it
        scene.ask("wal")
        scene.write("streamed")
        scene.has("streamed")
        scene.ask("polling")
        relay.reads_on()
        scene.write("behind")
        scene.has("behind")
    return scene.verdict()


@pytest.mark.parametrize(
    ("fences", "published", "doubled"),
    [
        (Fences, Published, []),
        (TakesAny, Published, []),
        (Fences, CountsAll, []),
        (TakesAny, CountsAll, ["polled"]),
    ],
    ids=["right", "any writer", "any place", "any writer and place"],
)
def test_a_fence_from_before_the_poll_does_not_take_the_position_back(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    fences: type[Fences],
    published: type[Published],
    doubled: list[str],
) -> None:
    """It is of an earlier stream, and lies below F: either is reason enough to pass over it."""
    monkeypatch.setattr("relay.sources.wal.stream.Fences", fences)
    monkeypatch.setattr("relay.sources.wal.source.Published", published)
    assert play_old_fence(scene) == Verdict([], doubled, [])


class Records(Published):
    """Publishes all, and notes where each transaction's commit record begins."""

    begins: dict[int, Lsn]

    def polled(self, transaction: int | None, commits_at: Lsn) -> bool:
        assert transaction is not None
        self.begins[transaction] = commits_at
        return False


def test_a_commit_record_begins_before_the_end_of_the_wal_that_is_read_after_it_and_may_end_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 commits of each kind: the filter by the start is right for all, and one by the end for nearly none.

    And a transaction whose commit is the very next record begins at F, or behind it.
    """
    scene.begin()
    scene.make_slot()
    start = Lsn.parse(
        scene.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s", scene.slot)
    )
    monkeypatch.setattr(Records, "begins", {}, raising=False)
    monkeypatch.setattr("relay.sources.wal.source.Published", Records)
    after: dict[int, Lsn] = {}
    before: dict[int, Lsn] = {}
    written = "SELECT pg_current_wal_insert_lsn()::text"
    with psycopg.connect(scene.url, autocommit=True) as reader, psycopg.connect(scene.url, autocommit=True) as writer:

        def now() -> Lsn:
            row = reader.execute(written).fetchone()
            assert row is not None
            return Lsn.parse(row[0])

        for number in range(400):
            kind = ("local", "off", "savepoints", "prepared")[number % 4]
            writer.execute(f"SET synchronous_commit = {'off' if kind == 'off' else 'local'}")
            writer.execute("BEGIN")
            for each in range(3 if kind == "savepoints" else 0):
                writer.execute(f"SAVEPOINT s{each}")
                writer.execute("SELECT outbox.publish('thing', 'nested', 1, 'changed', '{}')")
            row = writer.execute(
                "SELECT pg_current_xact_id()::text::bigint, outbox.publish('thing', 'x', 1, 'changed', '{}')"
            ).fetchone()
            assert row is not None
            if kind == "prepared":
                writer.execute(f"PREPARE TRANSACTION 'p{number}'")
            before[row[0]] = now()
            writer.execute(f"COMMIT PREPARED 'p{number}'" if kind == "prepared" else "COMMIT")
            after[row[0]] = now()
        end = now()
    state = State("wal", start, Snapshot(1, 1), Transactions(), filter=Filter(Snapshot(1, 1), Lsn(end + 2**32)))
    ends = dict(streamed(scene, state, 400 + 300))
    begins = Records.begins
    assert begins.keys() == after.keys()
    assert all(before[each] <= begins[each] < after[each] for each in after)
    by_the_end = [each for each in after if ends[each] < after[each]]
    assert len(by_the_end) < len(after) / 10, "a filter by the end would publish nearly all again"
    at_f = [each for each in after if begins[each] == before[each]]
    assert len(at_f) > len(after) / 2, "the commit was the very next record: begins <= F would have passed over it"
