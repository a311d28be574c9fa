"""Shadow mode: reads the source that the live stream does not read, and compares what both give.

Both are open first; then a transaction id X is drawn, and what is written from X on is compared. The comparison ends
with the live stream. It begins anew with another X when there is a stream that reads the other source; what waits at
the end of a comparison is not judged. A shadow that fails, or falls behind, begins anew too. It never ends the relay.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from psycopg.rows import scalar_row, tuple_row

from outboxkit.backoff import Backoff
from outboxkit.errors import Problem
from relay.core.lifetime.attempts import Attempts
from relay.core.lifetime.supervisor import Supervisor
from relay.core.observations import Observe, ShadowCompared, ShadowCompares, ShadowDiffers, ShadowPauses
from relay.core.position import Lsn, Position
from relay.shadow.comparing import Behind, Comparison
from relay.shadow.live import Live
from relay.shadow.pace import Pace
from relay.shadow.reading import Reader, Reading
from relay.storage.sessions.session import Session
from relay.storage.state import Mode

PATIENCE = 30.0
"""Seconds for which an event may be missing, at least."""
INTERVALS = 5
"""The same, in intervals of a poll."""

_FOLLOW_EVERY = 0.1
"""Seconds between two looks at what the live stream has given; when it came is noted."""
_SLICE = 500
"""Events that are compared in one go, in two or three milliseconds."""
_READ_EVERY = 0.01
"""Seconds between two parts that the shadow reads, at least: so exact are the times of their arrival."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When something is missing, and when a shadow begins anew; times in seconds."""

    patience: float = PATIENCE
    look_every: float = 1.0
    """Between two looks at what waits."""
    after_behind: float = 10.0
    """A shadow that fell behind begins anew so long after."""
    again_within: float = 60.0
    """One that failed is tried again within this time."""
    retained_bytes: int = 1 << 30
    """WAL that the shadow's slot may retain."""
    waiting: int = 100_000
    """Events of one side that may wait for the other."""


class Shadow:
    """Compares what `reader` reads with the live stream, while that reads the other source."""

    def __init__(
        self, reader: Reader, session: Session, *, pace: Pace, observe: Observe, limits: Limits = Limits()
    ) -> None:  # fmt: skip
        self._reader = reader
        self._session = session
        self._pace = pace
        self._observe = observe
        self._limits = limits
        self._live: Live | None = None
        self._changed = asyncio.Event()
        self._attempts = Attempts("shadow", observe)
        self._backoff = Backoff(base=1.0, cap=limits.again_within)
        self._paused = False
        """Whether it was said why nothing is compared."""

    # The live stream.

    def opened(self, mode: Mode) -> Live:
        """Return what notes what the stream gives that was opened now."""
        self._live = Live(mode, self._pace.took)
        self._changed.set()
        return self._live

    def closed(self, live: Live) -> None:
        """Note that the stream has ended."""
        live.stop()
        live.ended.set()
        if self._live is live:
            self._live = None

    # The comparisons.

    async def run(self) -> None:
        """Compare whenever a live stream reads the other source, until cancelled."""
        while True:
            while (live := self._live) is None:
                self._changed.clear()
                await self._changed.wait()
            if live.mode == self._reader.mode:
                self._pause("handover")
                await live.ended.wait()
                continue
            delay = await self._until_it_ends(live)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await live.ended.wait()

    async def _until_it_ends(self, live: Live) -> float:
        """Compare with `live` until that ends, or the comparison fails; return how long to wait for the next one."""
        comparing = asyncio.create_task(self._compare(live))
        ended = asyncio.create_task(live.ended.wait())
        try:
            await asyncio.wait({comparing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not comparing.done():
                self._pause("handover")
                return 0.0
            comparing.result()
        except Behind:
            self._pause("behind")
            return self._limits.after_behind
        except Problem as problem:
            self._fail(problem)
        except Exception as error:  # noqa: BLE001 - a bug of the shadow must not end the relay
            self._fail(Problem(f"a bug in shadow mode: {error!r}", remedy="report it; RELAY_SHADOW=off ends it"))
        finally:
            for task in (comparing, ended):
                task.cancel()
            await asyncio.gather(comparing, ended, return_exceptions=True)
        return self._backoff.next_delay()

    def _fail(self, problem: Problem) -> None:
        self._attempts.failed(problem)
        self._pause("failed")

    def _pause(self, reason: str) -> None:
        if not self._paused:
            self._paused = True
            self._observe(ShadowPauses(self._reader.mode, reason))

    async def _compare(self, live: Live) -> None:
        """Compare until cancelled; raises a Problem, which is Behind for a side that gives more than may wait."""
        async with self._reader.open() as reading:
            live.begin()
            comparison = None
            try:
                since = int(str(await self._session.fetch(scalar_row, "transaction_next", {})))
                live.count_from(since)
                reading.count_from(since)
                limits = self._limits
                comparison = Comparison(since, patience=limits.patience, at_most=limits.waiting)
                self._paused = False
                self._observe(ShadowCompares(self._reader.mode, since))
                self._attempts.succeeded()
                async with Supervisor(self._observe) as tasks:
                    tasks.start("shadow's live side", self._pace.metered(self._follow(live, comparison)))
                    tasks.start("shadow's own side", self._pace.metered(self._read(reading, comparison)))
                    tasks.start("shadow's looks", self._pace.metered(self._look(live, reading, comparison)))
                    await tasks.failure
            finally:
                live.stop()
                if comparison is not None:
                    self._tell(comparison)

    async def _follow(self, live: Live, comparison: Comparison) -> None:
        worked = 0
        while not live.too_much:
            while (item := live.next()) is not None:
                if isinstance(item, Position):
                    comparison.reached("live", item)
                    continue
                at, rows = item
                for start in range(0, len(rows), _SLICE):
                    part = rows[start : start + _SLICE]
                    comparison.arrived("live", part, at)
                    if (worked := worked + len(part)) >= _SLICE:
                        worked = 0
                        await self._pace.rest()
            await asyncio.sleep(_FOLLOW_EVERY)
        raise Behind("the live stream gives more than the shadow reads", remedy="none: the shadow begins anew")

    async def _read(self, reading: Reading, comparison: Comparison) -> None:
        loop = asyncio.get_running_loop()
        while True:
            part = await reading.next()
            comparison.arrived("shadow", part.rows, loop.time())
            if part.reached is not None:
                comparison.reached("shadow", part.reached)
            await asyncio.sleep(max(_READ_EVERY, self._pace.due()))  # what arrives meanwhile is read in one go

    async def _look(self, live: Live, reading: Reading, comparison: Comparison) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            await asyncio.sleep(self._limits.look_every)
            now = loop.time()
            marks = await self._session.fetch(tuple_row, "shadow_marks", {"slot": reading.slot})
            assert marks is not None  # noqa: S101 - the query always returns one row
            written, flushed, retained = marks
            # A live poll gives what is flushed. The shadow's does not wait for that; the live stream's fences flush it.
            if live.mode == "wal":
                comparison.mark("live", now, Lsn.parse(written))
            else:
                comparison.mark("shadow", now, Lsn.parse(flushed))
            comparison.overdue(now)
            self._tell(comparison)
            if now - since > self._limits.again_within:
                self._backoff.reset()
            if retained is not None and retained > self._limits.retained_bytes:
                raise Problem(
                    f"the shadow's slot retains {retained} bytes of WAL, more than {self._limits.retained_bytes}",
                    remedy="none is needed: it is given up, and the shadow begins anew with another one; if that "
                    "happens again, end long transactions, which `relay check` names, or set RELAY_SHADOW=off",
                )
            await self._pace.rest()

    def _tell(self, comparison: Comparison) -> None:
        found = comparison.take()
        if found.live or found.shadow:
            self._observe(ShadowCompared(found.live, found.shadow))
        if found.differences:
            self._observe(ShadowDiffers(found.differences))
