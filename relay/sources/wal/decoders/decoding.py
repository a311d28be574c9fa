"""The interface of decoders, and the choice of one by its output plugin. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from relay.core.event import Boundary, Fence, OutboxEvent
from relay.core.position import Lsn
from relay.sources.layout import Layout
from relay.sources.wal.decoders import pgoutput, wal2json
from relay.sources.wal.decoders.messages import Messages
from relay.sources.wal.decoders.relations import Relations


class Decoder(Protocol):
    """Turns the payloads of one stream, in order, into events, boundaries and fences."""

    in_transaction: bool
    """Whether a BEGIN has been decoded and its COMMIT has not."""

    def commits_at(self) -> Lsn:
        """Return where the commit record of the transaction begins that is being decoded, or was last."""

    def decode(self, payloads: Sequence[bytes | memoryview]) -> Iterator[OutboxEvent | Boundary[Lsn] | Fence | None]:
        """Yield one result for each of `payloads`: None for a BEGIN, or a change that is not an outbox event.

        A payload is decoded when its result is asked for; raises UndecodableChange, naming the column, when a row lacks
        what an event needs, and OutboxChanged when nobody knows yet whether a row is an event. Events and fences come
        between the BEGIN and the boundary of their transaction. A row of our own table that names another transaction
        was copied or moved, and is no event.
        """


def decoder(
    plugin: str,
    layout: Layout,
    message_prefix: str | None,
    *,
    publication: str,
    relations: Relations,
) -> tuple[Decoder, Mapping[str, str]]:
    """Return a new decoder for `plugin`'s stream, and the options of START_REPLICATION that produce this stream.

    With `message_prefix`, messages with this prefix are the events, and the layout's table is not read. Only pgoutput
    uses `publication`. The options' values are quoted for the plugin, not for SQL. Raises ConfigurationProblem for a
    prefix that `plugin` cannot filter by.
    """
    table = None if message_prefix else layout
    messages = Messages(message_prefix, time_unit=layout.time_unit)
    if plugin == pgoutput.PLUGIN:
        return pgoutput.PgoutputDecoder(table, messages, relations), pgoutput.options(publication)
    return wal2json.Wal2JsonDecoder(table, messages, relations), wal2json.options(table, message_prefix)
