"""The relay's peak memory: in one large transaction, and while the broker is down under load."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.instruments import completeness, procfs
from bench.load import queues
from bench.stage import Publisher, Stage, stage
from bench.watch import Watch
from sandbox import Sandbox
from sandbox.machine.waiting import until

_READY_SECONDS = 30.0
_LATE_SECONDS = 600.0
# How long the load runs before the broker stops, and after it is back.
_BEFORE_SECONDS = 2
_AFTER_SECONDS = 2
_MEGABYTE = 1e6
_KIND = queues.Kind.CLASSIC

Load = Callable[[Stage, Publisher], None]


@dataclass(frozen=True, slots=True)
class Memory:
    """The resident memory of one relay in megabytes (1,000,000 bytes), shared libraries included."""

    what: str
    events: int
    before_mb: float
    """When it is ready and has nothing to publish yet."""
    peak_mb: float
    after_mb: float
    seconds: float
    """From the first event to the last confirm."""
    duplicates: int


def large_transaction(box: Sandbox, *, events: int, window: int) -> Memory:
    """Commit `events` rows at once while a relay streams."""

    def load(place: Stage, relay: Publisher) -> None:
        place.write_backlog(events, per_transaction=events)
        Watch(place, relay).until_confirmed(events, every=1.0)

    return _measured(box, f"a transaction of {events:,} rows", events, window, load)


def broker_outage(box: Sandbox, *, rate: int, seconds: int, window: int) -> Memory:
    """Stop the broker for `seconds` under an even load; raises Problem if it is not the sandbox's own."""
    events = rate * (_BEFORE_SECONDS + seconds + _AFTER_SECONDS)

    def load(place: Stage, relay: Publisher) -> None:
        with place.even_load(rate, events) as writer:
            until(
                lambda: relay.endpoint.confirmed() >= rate * _BEFORE_SECONDS,
                what="the load runs",
                seconds=_READY_SECONDS + _BEFORE_SECONDS * 10,
            )
            box.rabbitmq.stop()
            ends = time.monotonic() + seconds
            until(lambda: time.monotonic() >= ends, what="the outage is over", seconds=seconds * 2 + 1)
            box.rabbitmq.start()
            Watch(place, relay).until_confirmed(events, every=1.0)
            writer.finish(seconds=_LATE_SECONDS)

    return _measured(box, f"{seconds} s without the broker at {rate:,} events/s", events, window, load)


def _measured(box: Sandbox, what: str, events: int, window: int, load: Load) -> Memory:
    with stage(box, window=window) as place, place.queue("memory", _KIND) as queue:
        place.rewind()
        with place.relay() as relay:
            until(relay.endpoint.ready, what="the relay is ready", seconds=_READY_SECONDS)
            pid = relay.program.pid
            procfs.reset_peak(pid)
            before, began = procfs.resident(pid), time.monotonic()
            load(place, relay)
            ended, peak, after = time.monotonic(), procfs.peak(pid), procfs.resident(pid)
        arrived = asyncio.run(queues.collect(place.amqp_url, queue, _KIND, expected=events))
        repeated = completeness.duplicates(place.committed(), arrived)
    return Memory(
        what=what,
        events=events,
        before_mb=before / _MEGABYTE,
        peak_mb=peak / _MEGABYTE,
        after_mb=after / _MEGABYTE,
        seconds=ended - began,
        duplicates=repeated,
    )
