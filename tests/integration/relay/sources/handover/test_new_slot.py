"""From polling to the WAL over a new slot: which transactions must have been polled before the stream begins.

A slot has only what commits behind its place, and its maker waits for no transaction that began late. So a transaction
may have committed before that place and not be visible yet: its commit waits for a standby.
"""

import threading
from collections.abc import Callable, Sequence

import pytest
from psycopg.rows import scalar_row

from relay.core.position import Lsn, Snapshot
from relay.storage.slots.new_slot import NewSlot
from relay.storage.slots.obstacles import Obstacle
from tests.integration.relay.sources.handover.recorder import Made
from tests.integration.relay.sources.handover.scene import RIGHT, Scene, Verdict, names, without_the_flush
from tests.integration.relay.sources.handover.writer import Writer


def committed(writer: Writer) -> None:
    """Commit an event that nobody sees yet."""
    writer.write("hidden").commit(hidden=True)


def prepared(writer: Writer) -> None:
    """Commit an event in two phases; nobody sees it yet."""
    writer.write("hidden").prepare("two phases")
    writer.commit_prepared("two phases", hidden=True)


def savepoints(writer: Writer) -> None:
    """Commit an event behind 200 savepoints with ids of their own; nobody sees it yet."""
    writer.write("hidden", *(f"hidden {number}" for number in range(200)), savepoints=True).commit(hidden=True)


class LastSnapshot(NewSlot):
    """Ends polling with an ordinary last snapshot, right after the slot was made."""

    async def next_transaction(self) -> int:
        return 0


class EndOfSnapshot(NewSlot):
    """Takes the end of a snapshot for an id that no transaction had when the slot was made."""

    async def next_transaction(self) -> int:
        text = await self._asking.fetch(scalar_row, "snapshot_now", {})
        return Snapshot.parse(str(text)).xmax - 1


class DrawnBefore(NewSlot):
    """Draws X before the slot is made."""

    _x = 0

    async def make(self, plugin: str, waits: Callable[[Sequence[Obstacle]], None]) -> Lsn:
        self._x = await super().next_transaction()
        return await super().make(plugin, waits)

    async def next_transaction(self) -> int:
        return self._x


def play(scene: Scene, new_slot: type[NewSlot], how: Callable[[Writer], None]) -> tuple[Verdict, bool]:
    """Hand over while a commit that is before the slot's place is hidden; return whether the relay waited for it."""
    first, second, late = scene.writer(), scene.writer(), scene.writer()
    scene.begin()
    begun = first.xid()
    # What it stored would draw an id, and the end of the next snapshot would lie above it.
    with scene.relay(Made(new_slot=new_slot, stores=False)) as relay:
        scene.waits_for(begun)  # the maker knows who is running; it will look once more
        later = second.xid()
        first.rollback()
        scene.waits_for(later)  # the last time that it waits for anybody
        how(late)
        second.rollback()
        scene.made()
        if waits := new_slot is NewSlot:
            for _ in range(5):
                relay.reads_on()
            waits = scene.mode() == "polling"
        else:
            scene.reads("wal")
        late.show()
        scene.reads("wal")
        scene.write("behind")
        scene.has("behind")
    return scene.verdict(), waits


@pytest.mark.parametrize("how", [committed, prepared, savepoints])
def test_polling_goes_on_until_all_that_was_running_when_the_slot_was_made_is_visible(
    scene: Scene, how: Callable[[Writer], None]
) -> None:
    assert play(scene, NewSlot, how) == (RIGHT, True)
    assert names(scene.published, "polling")[0] == "hidden"


@pytest.mark.parametrize("new_slot", [LastSnapshot, EndOfSnapshot, DrawnBefore])
def test_without_a_wait_for_an_id_that_was_drawn_behind_the_slot_a_commit_is_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, new_slot: type[NewSlot]
) -> None:
    without_the_flush(monkeypatch)  # a flush draws an id, and the end of the next snapshot would lie above the commit's
    (missing, doubled, ghosts), _ = play(scene, new_slot, committed)
    assert (missing, doubled, ghosts) == (["hidden"], [], [])


@pytest.mark.parametrize("how", [prepared, savepoints])
def test_without_the_wait_a_prepared_transaction_and_one_with_savepoints_are_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, how: Callable[[Writer], None]
) -> None:
    without_the_flush(monkeypatch)
    (missing, doubled, ghosts), _ = play(scene, EndOfSnapshot, how)
    assert "hidden" in missing
    assert not doubled
    assert not ghosts


class TakesARow(NewSlot):
    """Takes a row in pg_replication_slots for a slot that is made."""

    drawn = threading.Event()

    async def make(self, plugin: str, waits: Callable[[Sequence[Obstacle]], None]) -> Lsn:
        del plugin, waits
        assert await self.find() is not None
        return Lsn(1)

    async def next_transaction(self) -> int:
        x = await super().next_transaction()
        self.drawn.set()
        return x


def play_half_made(scene: Scene, new_slot: type[NewSlot]) -> Verdict:
    """Begin with a slot that the server process of a dead relay is still making."""
    first, second, maker = scene.writer(), scene.writer(), scene.writer()
    TakesARow.drawn.clear()
    scene.begin()
    begun = first.xid()
    maker.start("SELECT pg_create_logical_replication_slot(%s, 'wal2json')", scene.slot)
    scene.waits_for(begun)
    with scene.relay(Made(new_slot=new_slot)) as relay:
        if new_slot is TakesARow:
            assert TakesARow.drawn.wait(60)
        relay.reads_on()
        begun = second.write("meanwhile").xid()
        first.rollback()
        if new_slot is TakesARow:
            scene.reads("wal")
        scene.waits_for(begun)
        second.commit()
        scene.made()
        scene.reads("wal")
        scene.write("behind")
        scene.has("behind")
    return scene.verdict()


def test_a_slot_that_a_dead_relay_was_making_counts_once_it_is_made(scene: Scene) -> None:
    assert play_half_made(scene, NewSlot) == RIGHT


def test_whoever_takes_the_row_of_a_half_made_slot_for_the_slot_loses_what_commits_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot that begins behind the stored position would be refused when it is opened: the control lacks that, too."""
    monkeypatch.setattr("relay.sources.wal.source.start_position", lambda _, __, after: after)
    assert play_half_made(scene, TakesARow) == Verdict(["meanwhile"], [], [])


def test_what_commits_between_the_first_snapshot_and_the_slot_is_polled(scene: Scene) -> None:
    scene.begin()
    scene.write("between")
    scene.make_slot()
    with scene.relay():
        scene.reads("wal")
        scene.write("behind")
        scene.has("behind")
    assert scene.verdict() == RIGHT


def test_a_first_start_that_goes_straight_to_the_stream_loses_it(scene: Scene) -> None:
    """The first fence declares it published."""
    scene.begin()
    scene.write("between")
    scene.make_slot()
    scene.execute(
        "UPDATE relay.checkpoint SET mode = 'wal', lsn = (SELECT confirmed_flush_lsn FROM pg_replication_slots"
        " WHERE slot_name = %s), plugin = 'wal2json'", scene.slot
    )  # fmt: skip
    with scene.relay():
        scene.fenced()
        scene.ask("polling")
        scene.write("behind")
        scene.has("behind")
    assert scene.verdict() == Verdict(["between"], [], [])


def test_a_relay_that_was_asked_for_the_wal_polls_until_it_has_a_slot_again(scene: Scene) -> None:
    """It may have been polling, and killed before the slot that it was asked for was made."""
    scene.begin()
    scene.make_slot()
    with scene.relay():
        scene.ask("wal")
        scene.write("streamed")
        scene.has("streamed")
        scene.fenced()
    scene.drop_slot()
    scene.write("without a slot")
    holder = scene.writer().write("open")
    with scene.relay():
        scene.has("without a slot")
        scene.stored()
    with scene.relay():
        scene.write("polled by another")
        scene.has("polled by another")
        holder.commit()
        scene.reads("wal")
        scene.write("streamed again")
        scene.has("open", "streamed again")
    assert scene.verdict() == RIGHT
