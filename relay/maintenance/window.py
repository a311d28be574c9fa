"""Keeps a window of WAL for replays: a second slot, which lags behind the relay's by RELAY_REPLAY_WINDOW bytes.

It begins as a copy of the relay's slot, stays where it is until it retains as much as it may, and is then moved by
eighths of that, never beyond the relay's slot: what that one retains is kept anyway. It retains no more than the
slot's budget allows. A transaction that stays open keeps the WAL since its begin, which moving cannot change; a slot
that retains too much although it has caught up with the relay's is dropped, and made again when there is room.

Only the active relay does this. Without a window, it drops the slot that it has made.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

from relay.core.errors import NotOurs
from relay.core.observations import Observe, ReplayWindow, ReplayWindowDropped, ReplayWindowMade
from relay.core.position import Lsn
from relay.maintenance.guardian import budget
from relay.storage.slots.replay_slot import ReplaySlot, ReplaySlotState

LOOK_EVERY = 10.0
"""Seconds."""
_STEPS = 8
NOT_WANTED = "RELAY_REPLAY_WINDOW is off"
RENAMED = "RELAY_SLOT was changed"
LOST = "Postgres invalidated it: see max_slot_wal_keep_size, and from Postgres 18 on idle_replication_slot_timeout"
TOO_MUCH = "it retains more WAL than RELAY_REPLAY_WINDOW or RELAY_SLOT_BUDGET allows, and the relay's slot does not"


@dataclass(frozen=True, slots=True)
class Make:
    """Copy the relay's slot."""


@dataclass(frozen=True, slots=True)
class Move:
    """Let the WAL before a position go."""

    to: Lsn


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop the slot, or forget one that is gone."""

    reason: str
    wanted: bool
    """Whether it is made again."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing is to be done."""


def decide(state: ReplaySlotState, *, size: int | None, own_budget: int | None, name: str) -> Make | Move | Drop | Keep:
    """Return what is to be done about the slot `name`, which may keep `size` bytes; raises NotOurs if it may not.

    The budget of the relay's slot, `own_budget` or what stands for it, bounds the window too.
    """
    if size is None:
        return Keep() if state.noted is None else Drop(NOT_WANTED, wanted=False)
    if state.found and (state.noted is None or not state.here):
        raise _not_ours(state, state.noted or name)
    if state.noted not in {None, name}:
        return Drop(RENAMED, wanted=True)
    allowed = min(size, budget(own_budget, state.keep_size_mib))
    if not state.found:
        room = state.slot_retained_bytes is not None and state.slot_retained_bytes <= allowed
        return Make() if room else Keep()
    if state.lost or state.oldest is None:
        return Drop(LOST, wanted=True)
    if (state.retained_bytes or 0) <= allowed:
        return Keep()
    return _shrink(state, Lsn.parse(state.oldest), allowed)


def _shrink(state: ReplaySlotState, oldest: Lsn, allowed: int) -> Move | Drop | Keep:
    """Return how a slot that retains more than is `allowed` comes to retain less."""
    end = Lsn.parse(state.wal_end)
    furthest = end if state.confirmed is None else Lsn.parse(state.confirmed)
    step = allowed // _STEPS
    to = min(furthest, max(Lsn(end - allowed + step), Lsn(oldest + step)))
    if to > oldest:
        return Move(Lsn(to))
    if state.slot_retained_bytes is not None and state.slot_retained_bytes >= (state.retained_bytes or 0):
        return Keep()  # the relay's own slot keeps all of it
    return Drop(TOO_MUCH, wanted=True)


class Window:
    """Looks after `slot`; `active` says whether this is the active relay, and `ours` raises NotOurs if it may not."""

    def __init__(  # noqa: PLR0913 - made in one place, by the composition root
        self,
        slot: ReplaySlot,
        observe: Observe,
        *,
        size: int | None,
        own_budget: int | None,
        active: Callable[[], Awaitable[bool]],
        ours: Callable[[], Awaitable[None]],
    ) -> None:
        self._slot = slot
        self._observe = observe
        self._size = size
        self._own_budget = own_budget
        self._active = active
        self._ours = ours

    async def look(self) -> None:
        """Look once; raises a Problem when Postgres cannot be asked, or refuses what is to be done."""
        if not await self._active():
            return
        state = await self._slot.state()
        self._observe(ReplayWindow(state.retained_bytes or 0 if state.noted is not None else 0))
        what = decide(state, size=self._size, own_budget=self._own_budget, name=self._slot.name)
        if not isinstance(what, Keep):
            await self._ours()
        await self._do(what, state)

    async def _do(self, what: Make | Move | Drop | Keep, state: ReplaySlotState) -> None:
        match what:
            case Make():
                await self._slot.make()
                self._observe(ReplayWindowMade(self._slot.name))
            case Move(to):
                await self._slot.move(str(state.noted), to)
            case Drop(reason, wanted):
                if state.found and state.here:
                    await self._slot.drop(str(state.noted))
                await self._slot.forget()
                self._observe(ReplayWindowDropped(str(state.noted), reason, wanted=wanted))
            case Keep():
                pass
            case _:
                assert_never(what)


def _not_ours(state: ReplaySlotState, name: str) -> NotOurs:
    where = "is of another database, or temporary" if state.noted is not None else "was not made by this relay"
    return NotOurs(
        f"replication slot {name!r} {where}, so no WAL is kept for replays",
        remedy=f"if nobody uses it, SELECT pg_drop_replication_slot('{name}'): the relay makes its own then; "
        "otherwise set RELAY_SLOT to another name, or unset RELAY_REPLAY_WINDOW",
    )
