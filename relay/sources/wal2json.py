r"""Decoder of wal2json's format version 2: one JSON object for each BEGIN, INSERT, message and COMMIT. Pure.

https://github.com/eulerto/wal2json. Transactions arrive whole and in commit order. B and C carry `lsn`, the commit
record's position, and `nextlsn`, its end: the end LSN is what may be reported as flushed. A row's own LSN is neither
unique (COPY) nor monotone across transactions, so it is not used.

The first row of a table is parsed as JSON, and shows what every row of it looks like. Further ones are cut at
`{"name":"`, which is exact: inside a JSON string a quotation mark always follows a backslash. That takes less than
half of the time. Whatever does not look like the first row (a column more or less, a NULL, an escape that is not
expected) is parsed as JSON again, so the short cut decides how fast a row is read and never what is read.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from relay.errors import UndecodableChange
from relay.event import Boundary, Fence, OutboxEvent
from relay.position import Lsn
from relay.sources.layout import BYTEA, NATIVE, Column, Layout, Reader
from relay.sources.messages import FENCE, Messages
from runtime.errors import ConfigurationProblem

PLUGIN = "wal2json"

_COLUMN = b'{"name":"'
_VALUE = b',"value":'
_TABLE = b',"schema":'
_END = re.compile(
    rb'\{"action":"([BC])","timestamp":"([^"]+)","lsn":"[^"]+","nextlsn":"([^"]+)"\}'
)


def options(layout: Layout, message_prefix: str | None) -> Mapping[str, str]:
    """Return the options of a stream of `layout`'s rows, or of the messages with `message_prefix` instead.

    Raises ConfigurationProblem for a prefix that wal2json's list of prefixes cannot hold.
    """
    if message_prefix is not None and re.search(r"[\s,\\]", message_prefix):
        raise ConfigurationProblem(
            f"wal2json cannot be asked for messages with the prefix {message_prefix!r}",
            remedy="choose a prefix without blanks, commas and backslashes, or RELAY_PLUGIN=pgoutput",
        )
    chosen = {
        "format-version": "2",
        "include-transaction": "1",
        "include-lsn": "1",
        "include-timestamp": "1",
        "include-types": "0",
        "add-tables": "" if message_prefix else _tables(layout),
        "actions": "insert",
        "add-msg-prefixes": f"{FENCE},{message_prefix}" if message_prefix else FENCE,
    }
    # bytea arrives as bare hex that looks like text, and only the type tells; our own table has none.
    return chosen if layout == NATIVE else chosen | {"include-type-oids": "1"}


def _tables(layout: Layout) -> str:
    """Name the table, or every table of its schema where partitions count: a list cannot name them beforehand."""
    schema, table = (re.sub(r"(\W)", r"\\\1", name) for name in (layout.schema, layout.table))
    return f"{schema}.*" if layout.partitioned else f"{schema}.{table}"
