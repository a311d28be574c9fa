"""The slot is kept while the table is polled: what was streamed, what was polled, where one ends.

K is what was streamed and no stored snapshot sees; N and F say what was polled.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from relay.core.errors import SourceUnavailable
from relay.core.observations import HandedOver
from relay.core.position import Lsn
from relay.core.transactions import Transactions
from relay.sources.handover.handover import Handover
from relay.sources.wal import frames
from relay.sources.wal.published import Published
from relay.storage.position import StoredPosition
from relay.storage.state import State
from tests.integration.relay.sources.handover.recorder import Made
from tests.integration.relay.sources.handover.scene import RIGHT, Scene, Verdict, names
from tests.integration.relay.sources.handover.writer import Writer

_END_STREAM = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s"


class ForgetsK(StoredPosition):
    """Does not store what was streamed and is not seen yet."""

    async def save(self, state: State) -> None:
        await super().save(replace(state, streamed=Transactions()))


def streamed_hidden(scene: Scene, made: Made) -> Writer:
    """Stream an event that nobody sees yet, and store a fence behind it; the relay dies."""
    hidden = scene.writer()
    scene.begin()
    with scene.relay(made):
        scene.reads("wal")
        hidden.write("hidden").commit(hidden=True)
        scene.has("hidden")
        scene.fenced()
    return hidden


def play_hidden(scene: Scene, made: Made) -> Verdict:
    """Stream it, die, and go over to polling in order; it becomes visible then."""
    hidden = streamed_hidden(scene, made)
    with scene.relay(made) as relay:
        scene.fenced()
        scene.ask("polling")
        hidden.show()
        relay.reads_on()
        scene.write("behind")
        scene.has("behind")
    return scene.verdict()


def test_what_was_streamed_before_it_was_visible_is_not_polled_again_after_a_crash(scene: Scene) -> None:
    assert play_hidden(scene, Made()) == RIGHT
    assert names(scene.published, "wal") == ["hidden"]


def test_without_k_in_the_row_it_is_published_twice(scene: Scene) -> None:
    assert play_hidden(scene, Made(positions=ForgetsK)) == Verdict([], ["hidden"], [])


class CarriesNothing(Published):
    """Does not know what it has streamed, nor what was streamed before."""

    def __init__(self, state: State) -> None:
        super().__init__(replace(state, streamed=Transactions()))


def play_there_and_back(scene: Scene) -> Verdict:
    """Stream it, poll while it is hidden, and go back over the kept slot; poll again once it is visible."""
    hidden = streamed_hidden(scene, Made())
    with scene.relay() as relay:
        scene.ask("polling")
        scene.write("polled")
        scene.has("polled")
        scene.ask("wal")
        scene.write("streamed")
        scene.has("streamed")
        scene.fenced()
        scene.ask("polling")
        hidden.show()
        relay.reads_on()
        scene.write("behind")
        scene.has("behind")
    return scene.verdict()


def test_k_is_carried_over_into_polling_and_back_into_the_stream(scene: Scene) -> None:
    assert play_there_and_back(scene) == RIGHT
    assert names(scene.published, "wal") == ["hidden", "streamed"]
    assert names(scene.published, "polling") == ["polled", "behind"]
    assert scene.value("SELECT duplicates FROM relay.handover WHERE to_mode = 'wal' ORDER BY number DESC LIMIT 1") == 0


def test_a_stream_that_forgets_k_lets_a_later_poll_publish_it_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.sources.wal.source.Published", CarriesNothing)
    assert play_there_and_back(scene) == Verdict([], ["hidden"], [])


def from_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stream from where the slot stands, which is where the relay last reported, and not from the stored position."""
    monkeypatch.setattr(
        "relay.sources.wal.source.start_position", lambda facts, _, __: Lsn.parse(facts.confirmed_flush_lsn)
    )


def without_the_filters_k(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pass over what N sees, but not over K."""
    monkeypatch.setattr("relay.sources.wal.source.Published", PassesOverN)


class PassesOverN(Published):
    """Passes over what N sees, and does not look into K."""

    def polled(self, transaction: int | None, commits_at: Lsn) -> bool:
        return super().polled(transaction, commits_at) and self._filter.snapshot.sees(transaction)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(
    ("without", "doubled"),
    [
        ((), []),
        ((from_the_slot,), []),
        ((without_the_filters_k,), []),
        ((from_the_slot, without_the_filters_k), ["hidden"]),
    ],
    ids=["right", "from the slot", "filter without K", "neither"],
)
def test_a_kept_slot_is_streamed_from_the_stored_position_and_k_is_passed_over(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    without: tuple[Callable[[pytest.MonkeyPatch], None], ...],
    doubled: list[str],
) -> None:
    """The slot is behind what is stored if the relay died before it reported. Either condition alone is enough."""
    hidden = scene.writer()
    scene.begin()
    monkeypatch.setattr("relay.sources.wal.frames.standby_status", _reports_nothing)
    with scene.relay():
        scene.reads("wal")
        hidden.write("hidden").commit(hidden=True)
        scene.has("hidden")
        scene.fenced()
        scene.ask("polling")
    for each in without:
        each(monkeypatch)
    with scene.relay():
        scene.ask("wal")
        scene.write("behind")
        scene.has("behind")
    hidden.show()
    assert scene.verdict() == Verdict([], doubled, [])


_standby_status = frames.standby_status


def _reports_nothing(*, received: Lsn, flushed: Lsn, now: float, ping: bool) -> bytes:
    del flushed
    return _standby_status(received=received, flushed=Lsn(0), now=now, ping=ping)


class FailsOnceBehindTheChange(Handover):
    """The first time that polling is due, the session is lost once that is stored."""

    failed = False

    async def _fall_back(self, state: State, reason: str, detail: str) -> State:
        polled = await super()._fall_back(state, reason, detail)
        if not self.failed:
            self.failed = True
            raise SourceUnavailable("the session was lost", remedy="none is needed")
        return polled


def test_a_change_to_polling_is_noted_once_although_the_poll_does_not_open_at_first(scene: Scene) -> None:
    scene.begin()
    scene.make_slot()
    with scene.relay(Made(handover=FailsOnceBehindTheChange)) as relay:
        scene.write("streamed")
        scene.has("streamed")
        scene.fenced()
        with relay.opens_nothing():
            scene.execute(_END_STREAM, scene.slot)
            scene.drop_slot()
            scene.write("without a slot")
        scene.has("without a slot")
        relay.observed(HandedOver, times=3)
    assert [(each.source, each.to) for each in relay.seen if isinstance(each, HandedOver)][:3] == [
        ("polling", "wal"), ("wal", "polling"), ("polling", "wal"),
    ]  # fmt: skip
    assert scene.verdict() == RIGHT
