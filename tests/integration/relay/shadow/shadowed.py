"""A relay in a thread, with a shadow that has short limits; a test may plant differences on either side."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from relay.app import decoding
from relay.core.event import Boundary, OutboxEvent
from relay.core.observations import Difference, NotStored, ShadowCompared, ShadowCompares, ShadowDiffers, ShadowPauses
from relay.core.ports import Source, Stream
from relay.core.position import Position
from relay.settings import RelaySettings
from relay.shadow.live import WatchedSource
from relay.shadow.pace import Pace
from relay.shadow.polled import PolledReader
from relay.shadow.reading import Part, Reader, Reading
from relay.shadow.shadow import Limits, Shadow
from relay.shadow.streamed import StreamedReader
from relay.sources.handover.handover import Handover
from relay.sources.polling.source import POLLS
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import Mode
from sandbox.machine.waiting import until
from tests.integration.relay.sources.handover.recorder import Made, Published, Recorder
from tests.integration.relay.sources.handover.scene import Scene
from tests.integration.relay.sources.handover.writer import SECONDS

PATIENCE = 1.0
Spoil = Callable[[list[Any]], list[Any]]
"""What a test does to the rows or events of one side."""


class SpoiledStream:
    """A stream whose events a test spoils."""

    def __init__(self, stream: Stream[Any], spoil: Spoil) -> None:
        self._stream = stream
        self._spoil = spoil
        self.start, self.confirm, self.store, self.run = stream.start, stream.confirm, stream.store, stream.run

    async def receive(self) -> Sequence[OutboxEvent | Boundary[Any]]:
        return self._spoil(list(await self._stream.receive()))


class SpoiledSource:
    """A source whose events a test spoils."""

    def __init__(self, source: Source, spoil: Spoil) -> None:
        self._source = source
        self._spoil = spoil
        self.held = source.held

    def open(self, after: Position | None) -> AbstractAsyncContextManager[Stream[Any]]:
        return self._open(after)

    @asynccontextmanager
    async def _open(self, after: Position | None) -> AsyncIterator[Stream[Any]]:
        async with self._source.open(after) as stream:
            yield SpoiledStream(stream, self._spoil)


class SpoiledReader:
    """A reader whose rows a test spoils."""

    def __init__(self, reader: Reader, spoil: Spoil) -> None:
        self._reader = reader
        self._spoil = spoil
        self.mode: Mode = reader.mode

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Reading]:
        async with self._reader.open() as reading:
            yield SpoiledReading(reading, self._spoil)


class SpoiledReading:
    """What such a reader has opened."""

    def __init__(self, reading: Reading, spoil: Spoil) -> None:
        self.slot: str | None = reading.slot
        self._reading = reading
        self._spoil = spoil
        self.count_from = reading.count_from

    async def next(self) -> Part:
        part = await self._reading.next()
        return Part(self._spoil(list(part.rows)), part.reached)


class Shadowed(Recorder):
    """A relay with a shadow that reads `shadow`."""

    def __init__(  # noqa: PLR0913 - one for each part that a test may replace
        self,
        settings: RelaySettings,
        made: Made,
        published: list[Published],
        shadow: Mode,
        *,
        live: Spoil | None,
        own: Spoil | None,
        limits: Limits,
    ) -> None:
        super().__init__(settings, made, published)
        self._shadow: Mode = shadow
        self._spoils_live = live
        self._spoils_own = own
        self._limits = limits

    async def _source(self, stack: AsyncExitStack) -> Any:  # noqa: ANN401 - a source, in the place of the hand-over
        source: Any = await super()._source(stack)
        assert isinstance(source, Handover)
        settings = self._settings
        url, pace = settings.database_url.get_secret_value(), Pace()
        session = await stack.enter_async_context(
            Session(lambda: url, name=f"{settings.name} shadow", slot=settings.slot, prepared=POLLS)
        )
        server = Server(session, name=settings.name, slot=settings.slot, table=settings.table)
        reader: Reader
        if self._shadow == "polling":
            reader = PolledReader(
                session,
                server,
                lambda table: settings.layout(partitioned=table.partitioned),
                interval=settings.poll_interval,
                pace=pace,
            )
        else:
            reader = StreamedReader(lambda: url, server, settings.owner, decoding(settings), plugin=settings.plugin)
        if self._spoils_own is not None:
            reader = SpoiledReader(reader, self._spoils_own)
        shadow = Shadow(reader, session, pace=pace, observe=self.seen.append, limits=self._limits)
        if self._spoils_live is not None:
            source = SpoiledSource(source, self._spoils_live)
        running = asyncio.create_task(shadow.run())
        stack.callback(running.cancel)
        return WatchedSource(source, shadow)

    # What was seen.

    def compares(self, times: int = 1) -> None:
        """Wait until it has begun to compare so many times."""
        self._until(lambda: len(self._all(ShadowCompares)) >= times, "the shadow compares")

    def pauses(self, reason: str) -> None:
        """Wait until it has paused for `reason`."""
        self._until(lambda: reason in [each.reason for each in self._all(ShadowPauses)], f"it pauses: {reason}")

    def compared(self, count: int) -> None:
        """Wait until both have given `count` events; fails if no more are compared for a while."""
        while (before := self.count()) < count:
            self._counts_more(before, count)

    def compared_all(self, written: Callable[[int], int]) -> None:
        """Wait until the last comparison has compared all that was `written` from its first transaction on."""
        self._until(lambda: self._left(written) <= 0, "all is compared")

    def count(self) -> int:
        """Return how many events both have given."""
        return sum(len(each.live) + len(each.shadow) for each in self._all(ShadowCompared))

    def differs(self, count: int) -> list[Difference]:
        """Wait until there are `count` differences; return all of them."""
        self._until(lambda: len(self.differences()) >= count, f"{count} differences are found")
        return self.differences()

    def differences(self) -> list[Difference]:
        """Return the differences that were found."""
        return [difference for each in self._all(ShadowDiffers) for difference in each.differences]

    def failed(self, what: str) -> None:
        """Wait until `what` was reported as work that failed."""
        self._until(lambda: self.has_failed(what), f"{what} has failed")

    def has_failed(self, what: str) -> bool:
        """Return whether `what` was reported as work that failed."""
        return what in [each.what for each in self._all(NotStored)]

    def _left(self, written: Callable[[int], int]) -> int:
        since, count = 0, 0
        for each in [*self.seen]:
            if isinstance(each, ShadowCompares):
                since, count = each.since, 0
            elif isinstance(each, ShadowCompared):
                count += len(each.live) + len(each.shadow)
        return written(since) - count

    def _counts_more(self, before: int, wanted: int) -> None:
        self._until(lambda: self.count() > before, f"more than {before} of {wanted} events are compared")

    def _all(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.seen if isinstance(each, kind)]

    def _until(self, true: Callable[[], object], what: str) -> None:
        until(true, what=what, seconds=SECONDS, every=0.02)


@contextmanager
def shadowed(  # noqa: PLR0913 - the same
    scene: Scene,
    shadow: Mode,
    *,
    source: str = "auto",
    plugin: str = "wal2json",
    live: Spoil | None = None,
    own: Spoil | None = None,
    **limits: Any,  # noqa: ANN401 - those of Limits
) -> Iterator[Shadowed]:
    """Run a relay with a shadow; at the end of the block it dies without a last word."""
    relay = Shadowed(
        scene.settings(source=source, poll_interval=0.05, plugin=plugin),
        Made(source=source),
        scene.published,
        shadow,
        live=live,
        own=own,
        limits=Limits(**{"patience": PATIENCE, "look_every": 0.05, "after_behind": 0.1, "again_within": 0.2, **limits}),
    )
    relay.start()
    try:
        yield relay
    finally:
        relay.kill()
