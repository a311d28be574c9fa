"""How soon the engine opens a stream again, by how long the one before has lived; on a clock that waits for nobody."""

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from relay.core.errors import SourceUnavailable
from relay.core.position import Position
from tests.unit.relay.core.engine_stage import Broker, Item, Opening, Script, engine


class Skipping(selectors.DefaultSelector):
    """Waits for nothing: the loop's clock is set on instead."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None:
            self.skipped += max(timeout, 0.0)
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to whatever comes next."""

    def __init__(self) -> None:
        self._skipping = Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.skipped


class Brief(Script):
    """Its streams live for `lives` seconds each; the one behind them stays."""

    def __init__(self, *lives: float) -> None:
        super().__init__()
        self._lives = list(lives)
        self.opened: list[float] = []
        self.ended: list[float] = []

    @asynccontextmanager
    async def open(self, after: Position | None) -> AsyncIterator[Opening]:
        self.opened.append(asyncio.get_running_loop().time())
        yield BriefOpening(self, self._lives.pop(0) if self._lives else None, after)

    @property
    def delays(self) -> list[float]:
        return [opened - ended for ended, opened in zip(self.ended, self.opened[1:], strict=True)]


class BriefOpening(Opening):
    def __init__(self, script: Brief, lives: float | None, start: Position | None) -> None:
        super().__init__(script, (), start, last=lives is None)
        self._brief = script
        self._lives = lives

    async def receive(self) -> Sequence[Item]:
        if self._lives is None:
            self._brief.played.set()
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self._lives or 0)
        self._brief.ended.append(asyncio.get_running_loop().time())
        raise SourceUnavailable("the stream broke", remedy="wait")


def delays(*lives: float) -> list[float]:
    """Return how long the engine waits behind each of these streams."""

    async def play() -> list[float]:
        script, stop = Brief(*lives), asyncio.Event()
        running = asyncio.create_task(engine(script, Broker()).run(stop))
        await script.played.wait()
        stop.set()
        await running
        return script.delays

    loop_factory: Callable[[], asyncio.AbstractEventLoop] = SkippingLoop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(play())


@pytest.mark.parametrize("lives", [0.0, 0.5, 9.0])
def test_a_stream_that_ends_soon_is_opened_again_less_and_less_often(lives: float) -> None:
    """It could be opened, and may break at its first row all the same: that was ten times a second."""
    found = delays(*[lives] * 8)

    assert all(later > earlier for earlier, later in pairwise(found[:4]))
    assert all(1.0 <= delay <= 2.1 for delay in found[5:])


def test_a_stream_that_has_lived_for_a_while_is_opened_again_at_once() -> None:
    assert all(delay <= 0.11 for delay in delays(*[11.0] * 8))


def test_one_stream_that_lives_for_a_while_ends_the_long_delays() -> None:
    found = delays(*[0.0] * 6, 11.0)

    assert found[-2] >= 1.0
    assert found[-1] <= 0.11
