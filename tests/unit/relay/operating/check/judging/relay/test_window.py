"""What `relay check` says of the slot that keeps WAL for replays."""

from dataclasses import replace

import pytest

from relay.operating.check.judging.relay.window import ReplayWindow, replay_window
from tests.support.examples import SLOT

MADE = ReplayWindow(
    wanted=1 << 30, name="s_replay", noted=True, slot=replace(SLOT, name="s_replay", holder_pid=None), database="shop"
)


@pytest.mark.parametrize(
    ("window", "status", "said"),
    [
        (MADE, "OK", "'s_replay' keeps"),
        (replace(MADE, slot=None), "OK", "the active relay makes 's_replay'"),
        (replace(MADE, noted=False), "FAIL", "was not made by this relay"),
        (replace(MADE, database="other"), "FAIL", "was not made by this relay"),
        (replace(MADE, slot=replace(SLOT, wal_status="lost")), "WARN", "is lost"),
        (replace(MADE, wanted=None), "WARN", "and RELAY_REPLAY_WINDOW is off"),
        (replace(MADE, wanted=None, noted=False), "OK", "RELAY_REPLAY_WINDOW is off"),
        (replace(MADE, wanted=None, slot=None), "OK", "RELAY_REPLAY_WINDOW is off"),
    ],
)
def test_it_is_judged_by_whose_it_is_and_whether_it_is_wanted(window: ReplayWindow, status: str, said: str) -> None:
    verdict = replay_window(window)
    assert verdict.status == status
    assert said in verdict.summary
    assert verdict.remedy or status == "OK"
