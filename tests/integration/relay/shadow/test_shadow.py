"""A shadow beside a live stream, on a real server: what both give is the same, and what differs is found.

The relay reads the WAL and the shadow polls the table, or the other way round.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from relay.core.event import Boundary
from relay.storage.state import Mode
from sandbox.machine.waiting import until
from tests.integration.relay.shadow.shadowed import Shadowed, shadowed
from tests.integration.relay.sources.handover.scene import RIGHT, Scene
from tests.integration.relay.sources.handover.writer import PUBLISH, SECONDS

BOTH: list[tuple[str, Mode]] = [("wal", "polling"), ("polling", "wal")]
ways = pytest.mark.parametrize(("source", "shadow"), BOTH)


def begun(scene: Scene, source: str) -> None:
    """Set up a relay that reads `source`."""
    scene.begin()
    if source == "wal":
        scene.make_slot()
        scene.execute(
            "UPDATE relay.checkpoint SET mode = 'wal', plugin = 'wal2json', slot = s.slot_name,"
            " lsn = s.confirmed_flush_lsn FROM pg_replication_slots AS s WHERE s.slot_name = %s", scene.slot
        )  # fmt: skip


def found(relay: Shadowed) -> list[tuple[str, str]]:
    return [(each.kind, each.aggregate_id) for each in relay.differences()]


@ways
def test_both_give_the_same_whatever_transactions_do(scene: Scene, source: str, shadow: Mode) -> None:
    begun(scene, source)
    scene.write("before")
    early = scene.writer()
    early.write("begun before")
    with shadowed(scene, shadow, source=source) as relay:
        relay.compares() if shadow == "polling" else None
        early.commit()
        relay.compares()
        long, undone, nested = scene.writer(), scene.writer(), scene.writer()
        long.write("long")
        undone.write("undone")
        scene.write("a", "b", "c")
        undone.rollback()
        nested.write("d", "e", savepoints=True).commit()
        relay.compared(5)
        long.commit()
        relay.compared(6)
        scene.write(*["same"] * 20)
        relay.compared(26)
        scene.has("long")
    assert found(relay) == []
    assert relay.count() == 26
    assert scene.verdict().missing == []


@pytest.mark.parametrize("plugin", ["wal2json", "pgoutput"])
def test_the_wal_is_compared_with_a_poll_through_either_plugin(scene: Scene, plugin: str) -> None:
    begun(scene, "polling")
    scene.execute(f'CREATE PUBLICATION "{scene.slot}" FOR TABLE outbox.event WITH (publish_via_partition_root = true)')
    with shadowed(scene, "wal", source="polling", plugin=plugin) as relay:
        relay.compares()
        scene.write("a", "b")
        relay.compared(2)
    assert found(relay) == []


@ways
def test_what_the_live_stream_passes_over_is_missing_there(scene: Scene, source: str, shadow: Mode) -> None:
    begun(scene, source)

    def drop(items: list[Any]) -> list[Any]:
        return [item for item in items if isinstance(item, Boundary) or item.aggregate_id != "dropped"]

    with shadowed(scene, shadow, source=source, live=drop) as relay:
        relay.compares()
        scene.write("a", "dropped", "b")
        relay.differs(1)
        relay.compared(2)
    assert found(relay) == [("missing_live", "dropped")]


@ways
def test_what_the_shadow_passes_over_is_missing_there(scene: Scene, source: str, shadow: Mode) -> None:
    begun(scene, source)
    with shadowed(scene, shadow, source=source, own=lambda rows: [r for r in rows if r.aggregate_id != "x"]) as relay:
        relay.compares()
        scene.write("a", "x", "b")
        relay.differs(1)
        relay.compared(2)
    assert found(relay) == [("missing_shadow", "x")]


@ways
def test_what_one_side_gives_twice_is_found(scene: Scene, source: str, shadow: Mode) -> None:
    begun(scene, source)

    def double(rows: list[Any]) -> list[Any]:
        return [row for row in rows for _ in range(1 + (row.aggregate_id == "x"))]

    with shadowed(scene, shadow, source=source, own=double) as relay:
        relay.compares()
        scene.write("a", "x", "b")
        relay.differs(1)
        relay.compared(3)
    assert found(relay) == [("twice", "x")]


@ways
def test_another_order_within_an_aggregate_is_found(scene: Scene, source: str, shadow: Mode) -> None:
    begun(scene, source)
    held: list[Any] = []

    def swap(items: list[Any]) -> list[Any]:
        """Give the events of a transaction in reverse; a batch of the stream may hold only some of them."""
        given: list[Any] = []
        for item in items:
            if isinstance(item, Boundary):
                given += [*reversed(held), item]
                held.clear()
            else:
                held.append(item)
        return given

    with shadowed(scene, shadow, source=source, live=swap) as relay:
        relay.compares()
        writer = scene.writer()
        writer.write("same", "same").commit()
        relay.differs(1)
        relay.compared(2)
    assert found(relay) == [("order", "same")]


def test_a_row_that_its_transaction_deletes_is_in_the_wal_only(scene: Scene) -> None:
    begun(scene, "wal")
    with shadowed(scene, "polling", source="wal") as relay:
        relay.compares()
        writer = scene.writer()
        writer.write("gone").execute("DELETE FROM outbox.event WHERE aggregate_id = 'gone'").commit()
        relay.differs(1)
    assert found(relay) == [("missing_shadow", "gone")]


def test_what_is_streamed_before_it_is_visible_is_not_missing(scene: Scene) -> None:
    begun(scene, "wal")
    with shadowed(scene, "polling", source="wal", patience=0.2) as relay:
        relay.compares()
        hidden = scene.writer()
        hidden.write("hidden").commit(hidden=True)
        scene.has("hidden")
        seen = relay.batches
        scene.write("a", "b")
        relay.compared(2)
        for _ in range(10):  # fences, which the live stream passes meanwhile
            relay.reads_on()
        assert relay.batches > seen
        hidden.show()
        relay.compared(3)
    assert found(relay) == []


def test_a_shadow_pauses_while_both_would_read_the_same_and_begins_anew(scene: Scene) -> None:
    begun(scene, "wal")
    with shadowed(scene, "polling") as relay:
        relay.compares()
        scene.write("a")
        relay.compared(1)
        scene.ask("polling")
        relay.pauses("handover")
        scene.write("while both poll")
        scene.has("while both poll")
        scene.ask("wal")
        relay.compares(2)
        scene.write("b")
        relay.compared(2)
        scene.has("b")
    assert found(relay) == []
    assert relay.count() == 2
    assert not relay.has_failed("shadow")
    assert scene.verdict() == RIGHT


@ways
def test_a_load_with_rollbacks_and_hand_overs_shows_no_difference(scene: Scene, source: str, shadow: Mode) -> None:
    begun(scene, source)

    def load(name: str) -> int:
        draw, written = random.Random(name), 0  # noqa: S311 - for a load that can be repeated
        with psycopg.connect(scene.url) as connection:
            for _ in range(150):
                rows = draw.randint(1, 4)
                for _ in range(rows):
                    connection.execute(PUBLISH, [name])
                if draw.random() < 0.2:
                    connection.rollback()
                else:
                    connection.commit()
                    written += rows
        return written

    def since(transaction: int) -> int:
        return int(scene.value("SELECT count(*) FROM outbox.event WHERE tx >= %s::text::xid8", str(transaction)))

    if source == "polling":  # before its start: it polls at first anyway, and would go over to the WAL from there
        scene.execute("UPDATE relay.checkpoint SET wanted = 'polling'")
    with shadowed(scene, shadow) as relay, ThreadPoolExecutor() as writers:
        relay.compares()
        running = [writers.submit(load, f"writer {number}") for number in range(4)]
        written = sum(each.result() for each in running)
        relay.compared(written)
        assert relay.count() == written
        running = [writers.submit(load, f"writer {number}") for number in range(4, 8)]
        scene.ask(shadow)
        scene.ask(source)
        written += sum(each.result() for each in running)
        relay.compares(2)
        scene.write("last")
        relay.compared_all(since)
        scene.has("last")
        until(lambda: len(scene.published) >= written + 1, what="all is published", seconds=SECONDS)
    assert found(relay) == []
    assert scene.verdict().missing == []


def test_a_shadow_that_falls_behind_begins_anew(scene: Scene) -> None:
    begun(scene, "wal")
    stuck = [True]
    # What counts as missing does not wait any more: on a slow machine there would never be 50 that wait.
    with shadowed(
        scene, "polling", source="wal", patience=3600.0, waiting=50, own=lambda rows: [] if stuck[0] else rows
    ) as relay:  # fmt: skip
        relay.compares()
        scene.write(*[str(number) for number in range(60)])
        relay.pauses("behind")
        stuck[0] = False
        relay.compares(2)
        scene.write("a")
        relay.compared(1)
    assert found(relay) == []


def test_a_shadow_that_cannot_read_the_wal_says_so_and_the_relay_goes_on(scene: Scene) -> None:
    begun(scene, "polling")
    with shadowed(scene, "wal", source="polling", plugin="pgoutput") as relay:  # which has no publication
        scene.write("a")
        scene.has("a")
        relay.failed("shadow")
    assert relay.count() == 0


@ways
def test_a_shadow_whose_sessions_are_ended_goes_on_or_begins_anew(scene: Scene, source: str, shadow: Mode) -> None:
    begun(scene, source)
    with shadowed(scene, shadow, source=source) as relay:
        relay.compares()
        scene.write("a")
        relay.compared(1)
        ended = scene.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE application_name IN ('relay shadow', 'relay shadow stream') AND datname = current_database()"
        )
        assert len(ended) == (1 if shadow == "polling" else 2)
        # One that ends between two rounds is opened again. One that ends in a round makes the shadow begin anew, at any
        # time from now on; what is written before that is not compared.
        before = relay.count()
        written: list[str] = []

        def compared() -> bool:
            written.append(f"b{len(written)}")
            scene.write(written[-1])
            return relay.count() > before

        until(compared, what="events are compared again", seconds=SECONDS, every=0.1)
        scene.has(*written)
    assert found(relay) == []


def test_a_slot_that_retains_too_much_is_given_up(scene: Scene) -> None:
    begun(scene, "polling")
    with shadowed(scene, "wal", source="polling", retained_bytes=1) as relay:
        relay.compares()
        scene.write("a")
        relay.pauses("failed")
        relay.failed("shadow")
        relay.compares(2)
    scene.when(
        "SELECT WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE 'shadow%%' AND %s)", True,
        what="no slot of a shadow is left",
    )  # fmt: skip
