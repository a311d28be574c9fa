"""What is stored of a state."""

from relay.core.position import Lsn, Round, Snapshot
from relay.core.transactions import Transactions
from relay.storage.state import Filter, State


def test_each_part_of_a_state_is_stored() -> None:
    state = State(
        "wal", Lsn(16), Snapshot(700, 710, (705,)), Transactions.of([705, 706]), Round(Snapshot(720, 720), 9),
        Filter(Snapshot(690, 690), Lsn(32)), making_slot=True,
    )  # fmt: skip
    assert state.parameters() == {
        "mode": "wal", "lsn": "0/10", "snapshot": "700:710:705", "streamed": "{[705,707)}",
        "round_snapshot": "720:720:", "round_seq": 9, "filter_snapshot": "690:690:", "filter_end": "0/20",
        "making_slot": True,
    }  # fmt: skip


def test_a_stream_behind_a_poll_keeps_k_and_passes_over_what_the_poll_saw() -> None:
    polled = State("polling", None, Snapshot(700, 700), Transactions.of([705]), making_slot=True)
    state = polled.streamed_on(Lsn(16), Lsn(32))
    assert state == State(
        "wal", Lsn(16), Snapshot(700, 700), Transactions.of([705]), filter=Filter(Snapshot(700, 700), Lsn(32))
    )
    assert state.polled_on() == State("polling", Lsn(16), Snapshot(700, 700), Transactions.of([705]))
