"""What every output plugin's decoder is, and the choice between them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn
from relay.sources.layout import Layout
from relay.sources.wal.decoders import pgoutput, wal2json


class Decoder(Protocol):
    """Turns the payloads of one stream, in order, into events, boundaries and fences."""

    in_transaction: bool
    """Whether a transaction has begun and not ended."""

    def decode(self, payloads: Sequence[bytes | memoryview]) -> Iterator[OutboxEvent | Boundary[Lsn] | Fence | None]:
        """Yield what each of `payloads` means for the relay, as it is asked for; raises UndecodableChange at the one.

        A fence is a transactional message of the relay's own prefix. Events and fences come between the begin and
        the boundary of their transaction.
        """


def decoder(
    plugin: str, layout: Layout, message_prefix: str | None, *, publication: str
) -> tuple[Decoder, Mapping[str, str]]:
    """Return a fresh decoder of `plugin`'s stream, and the options of START_REPLICATION that make it.

    With `message_prefix`, events are the messages that have it, and the layout's table is not read. `publication` is
    for pgoutput. The options' values are in the plugin's own quoting, not in SQL's. Raises ConfigurationProblem for
    what `plugin` cannot be asked for.
    """
    table = None if message_prefix else layout
    if plugin == pgoutput.PLUGIN:
        return pgoutput.PgoutputDecoder(table, message_prefix), pgoutput.options(publication)
    return wal2json.Wal2JsonDecoder(table, message_prefix), wal2json.options(table, message_prefix)
