"""Pollers that people write, beside ours, over the same transactions: one loses, and one stalls."""

from typing import Any

from tests.integration.relay.sources.handover.scene import Scene
from tests.integration.relay.sources.handover.stream import Poller


class LastId:
    """Remembers the highest id that it has read."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._last = 0

    def poll(self) -> list[str]:
        """Return what is new to it."""
        rows: list[Any] = self._scene.execute(
            "SELECT seq, aggregate_id FROM outbox.event WHERE seq > %s ORDER BY seq", self._last
        )
        self._last = max([self._last, *(row[0] for row in rows)])
        return [row[1] for row in rows]


class Horizon:
    """Reads only what is older than every running transaction."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._below = 0

    def poll(self) -> list[str]:
        """Return what is new to it."""
        now = self._scene.value("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        rows: list[Any] = self._scene.execute(
            "SELECT aggregate_id FROM outbox.event WHERE tx::text::bigint >= %s AND tx::text::bigint < %s ORDER BY seq",
            self._below, now,
        )  # fmt: skip
        self._below = now
        return [row[0] for row in rows]


def test_a_late_commit_is_lost_by_the_last_id_and_a_long_transaction_stalls_the_horizon(scene: Scene) -> None:
    ours, last_id, horizon = Poller(scene), LastId(scene), Horizon(scene)
    horizon.poll()
    long, late = scene.writer(), scene.writer()
    long.xid()
    late.write("late")
    scene.write("early")
    assert (ours.poll(), last_id.poll(), horizon.poll()) == (["early"], ["early"], [])
    late.commit()
    assert (ours.poll(), last_id.poll(), horizon.poll()) == (["late"], [], [])
    for number in range(3):
        scene.write(f"next {number}")
        assert (ours.poll(), horizon.poll()) == ([f"next {number}"], [])
    long.rollback()
    assert ours.poll() == []
    assert horizon.poll() == ["late", "early", "next 0", "next 1", "next 2"]


def test_events_of_one_aggregate_are_in_order_if_they_are_written_behind_its_lock(scene: Scene) -> None:
    """`seq` is drawn at the insert. Behind the lock, the order of inserts is the order of commits."""
    scene.execute("CREATE TABLE thing (id integer PRIMARY KEY); INSERT INTO thing VALUES (1)")
    lock = "SELECT FROM thing WHERE id = 1 FOR UPDATE"
    poller = Poller(scene)
    first, second = scene.writer(), scene.writer()
    first.write("commits second")
    second.write("commits first").execute(lock).commit()
    first.execute(lock).commit()
    assert poller.poll() == ["commits second", "commits first"], "the control: the event is written before the lock"

    second.execute(lock).write("first").commit()
    first.execute(lock).write("second").commit()
    assert poller.poll() == ["first", "second"]
