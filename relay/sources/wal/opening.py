"""The one way to open a stream: on a slot, from a position, decoded as asked. `relay run` and `relay tail` use it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from relay.core.observations import Observe
from relay.core.position import Lsn
from relay.sources.wal.decoders.decoding import Decoder
from relay.sources.wal.published import Published
from relay.sources.wal.replication import ReplicationConnection
from relay.sources.wal.stream import Timings, WalStream, Writing
from relay.storage.facts import Facts, TableFacts


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an outbox is decoded, and what must hold for that."""

    decoder: Callable[[str, TableFacts], tuple[Decoder, Mapping[str, str]]]
    """From the slot's plugin and what the outbox is to a fresh decoder and the plugin's options."""
    examine: Callable[[TableFacts, str], None]
    """Raises a Problem if the outbox cannot be read with the slot's plugin."""


@asynccontextmanager
async def opened(  # noqa: PLR0913 - what a stream is
    connection: ReplicationConnection,
    start: Lsn,
    published: Published,
    *,
    plugin: str,
    decoding: Decoding,
    facts: Facts,
    table: TableFacts,
    writing: Writing | None,
    timings: Timings,
    observe: Observe,
) -> AsyncIterator[WalStream]:
    """Stream from the slot of `connection`, made with `plugin`, after `start`; closes the stream, not the connection.

    The caller has examined the outbox. Without `writing`, slot and stored position stay where they are.
    """
    decoder, options = decoding.decoder(plugin, table)
    await connection.start(start, options)
    stream = WalStream(
        connection,
        decoder,
        start,
        published,
        wal_sender_timeout=facts.wal_sender_timeout_ms / 1000,
        relations=facts.relations,
        writing=writing,
        timings=timings,
        observe=observe,
    )
    try:
        yield stream
    finally:
        await stream.close()
