"""What the slot may retain, and what is done about it."""

import asyncio

import pytest

from relay.core.observations import Observation, SlotBudget, SlotFills, SlotWatched
from relay.maintenance.guardian import Guardian, budget
from relay.storage.facts import SlotState

MIB = 1 << 20


class View:
    """A slot that retains what a test says."""

    def __init__(self) -> None:
        self.retained_bytes = 0

    async def state(self) -> SlotState:
        return SlotState(
            retained_bytes=self.retained_bytes, lag_bytes=0, wal_status="reserved", safe_wal_size=None, parked=0,
            keep_size_mib=-1,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("own", "keep_size_mib", "expected"),
    [(None, -1, 10 << 30), (None, 100, 80 * MIB), (5 * MIB, -1, 5 * MIB), (5 * MIB, 100, 5 * MIB), (None, 0, 64 * MIB)],
)
def test_the_budget_is_what_is_set_or_a_part_of_the_servers_limit(
    own: int | None, keep_size_mib: int, expected: int
) -> None:
    assert budget(own, keep_size_mib) == expected


def test_it_says_the_budget_once_warns_at_half_of_it_and_lets_the_slot_go_at_all_of_it() -> None:
    async def play() -> None:
        seen: list[Observation] = []
        gone: list[int] = []
        view = View()

        async def let_go() -> None:
            gone.append(view.retained_bytes)

        guardian = Guardian(view, seen.append, own_budget=10 * MIB, let_go=let_go)  # type: ignore[arg-type]
        for view.retained_bytes in (5 * MIB - 1, 5 * MIB, 10 * MIB - 1, 10 * MIB):
            await guardian.look()

        assert [each for each in seen if not isinstance(each, SlotWatched)] == [
            SlotBudget(10 * MIB, let_go=True),
            *[SlotFills(retained, 10 * MIB) for retained in (5 * MIB, 10 * MIB - 1, 10 * MIB)],
        ]
        assert gone == [10 * MIB]

    asyncio.run(play())


def test_a_slot_that_is_never_let_go_is_warned_of() -> None:
    seen: list[Observation] = []
    view = View()
    view.retained_bytes = 20 * MIB
    guardian = Guardian(view, seen.append, own_budget=10 * MIB, let_go=None)  # type: ignore[arg-type]
    asyncio.run(guardian.look())
    assert [each for each in seen if not isinstance(each, SlotWatched)] == [
        SlotBudget(10 * MIB, let_go=False),
        SlotFills(20 * MIB, 10 * MIB),
    ]
