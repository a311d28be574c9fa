"""The HTTP endpoint of a running relay: /metrics, /livez, /readyz and /healthz."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext

from outboxkit.http import health_route, metrics_route, serving
from relay.watching.metrics import SOURCES, Metrics

# The process is alive if its loop has run within this many seconds.
_LOOP_AGE = 5.0


@asynccontextmanager
async def serve(
    address: str | None, metrics: Metrics, in_flight: Callable[[], int], *, ready_lag: float
) -> AsyncIterator[str]:
    """Serve at `address`, if there is one; yields the address that it is bound to.

    `in_flight` counts the messages without an outcome. The relay is not ready from a lag of `ready_lag` seconds on.
    """
    metrics.watch_in_flight(in_flight)
    loop = Loop()
    running = asyncio.create_task(loop.run())

    def ready() -> Mapping[str, bool]:
        return readiness(metrics, ready_lag)

    routes = [
        metrics_route(metrics.registry),
        health_route("/livez", loop.alive),
        health_route("/readyz", ready),
        health_route("/healthz", lambda: {**loop.alive(), **ready()}),
    ]
    try:
        async with serving(routes, address) if address else nullcontext("") as bound:
            yield bound
    finally:
        running.cancel()


def readiness(metrics: Metrics, ready_lag: float) -> Mapping[str, bool]:
    """Return the checks of /readyz, each with its result; a standby is ready, to take over."""
    if metrics.mode == "standby":
        return {"standby": True}
    return {
        "source": metrics.mode in SOURCES,
        "broker": metrics.broker,
        "lag": metrics.lag() < ready_lag,
    }


class Loop:
    """Notes that the event loop runs."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ran_at = self._loop.time()

    async def run(self) -> None:
        """Note it regularly, until cancelled."""
        while True:
            self._ran_at = self._loop.time()
            await asyncio.sleep(_LOOP_AGE / 5)

    def alive(self) -> Mapping[str, bool]:
        """Return the check of /livez."""
        return {"loop": self._loop.time() - self._ran_at < _LOOP_AGE}
