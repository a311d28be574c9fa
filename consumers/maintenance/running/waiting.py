"""Waits that the end of the process ends. They are measured by the loop's clock, which nobody sets."""

import asyncio
import contextlib


async def stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for `seconds`, or until `stop` is set; return whether it is."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(seconds, 0))
    return stop.is_set()
