"""The command `relay tail`."""

import asyncio
import sys
from typing import Annotated

import typer

from outboxkit.process.streams import until_reader_leaves
from outboxkit.settings import load
from relay.operating.options import Config
from relay.settings import RelaySettings


def tail(
    config: Config = None,
    *,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after this number of messages.")] = None,
    from_now: Annotated[
        bool, typer.Option("--from-now", help="Print only what commits from now on, not what is unconfirmed.")
    ] = False,
) -> None:
    """Print messages as JSON lines, as they would be published. The relay and its slot are not affected."""
    # These take a third of a second to import, so only the commands that need them import them.
    from outboxkit.process import service  # noqa: PLC0415 - see above
    from relay import app as relay  # noqa: PLC0415 - see above
    from relay.operating.tail import stream  # noqa: PLC0415 - see above

    settings = load(RelaySettings, config)
    decoding, router = relay.decoding(settings), relay.router(settings)

    async def work(_: service.Stop) -> None:
        await stream.tail(settings, decoding, router, count=count, from_now=from_now, out=sys.stdout)

    with until_reader_leaves():
        asyncio.run(service.until_signal(work, prints=True))
