"""Which table is the outbox, and which of its columns holds which field of an event. Pure.

    field              native             debezium       without a column, or NULL
    id                 id                 id             refused
    seq                seq                               0
    aggregate_type     aggregate_type     aggregatetype  refused
    aggregate_id       aggregate_id       aggregateid    NULL reads as empty; the column is required
    aggregate_version  aggregate_version                 0: the event has no version
    event_type         event_type         type           refused
    payload            payload            payload        NULL reads as JSON null; the column is required
    headers            headers                           none
    exchange           exchange                          the relay's exchange
    routing_key        routing_key                       made from the relay's template
    created_at         created_at         timestamp      when the transaction committed

A column that a layout names must exist; only `timestamp` may be missing from a Debezium table. Other columns of the
table are ignored. The debezium layout is the one of its outbox event router
(https://debezium.io/documentation/reference/stable/transformations/outbox-event-router.html#basic-outbox-table).

The content type of a message follows from the payload's column: json and jsonb are application/json, bytea is
application/octet-stream, any other type is text/plain; NULL changes nothing about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from outboxkit.amqp.format import BINARY, JSON, TEXT
from outboxkit.errors import ConfigurationProblem
from relay.core.errors import UndecodableChange
from relay.sources.fields import CONVERSIONS, FIELDS, REQUIRED, bytea
from relay.sources.reader import Reader

BYTEA = 17
"""The type oid of bytea (src/include/catalog/pg_type.dat); the oids of built-in types are fixed."""
# 0 is our own table's payload, jsonb, whose type is not asked for. A domain has an oid of its own, and is text.
_CONTENT_TYPES: Mapping[int, str] = {0: JSON, 114: JSON, 3802: JSON, BYTEA: BINARY}

_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "native": {field: field for field in FIELDS},
    "debezium": {
        "id": "id",
        "aggregate_type": "aggregatetype",
        "aggregate_id": "aggregateid",
        "event_type": "type",
        "payload": "payload",
        "created_at": "timestamp",
    },
}


class Column(NamedTuple):
    """A column of a relation, as the stream describes it."""

    name: str
    oid: int = 0
    """Its type; 0 if the plugin was not asked for types."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A table of events; make it with `layout`."""

    schema: str
    table: str
    columns: Mapping[str, str]
    """From the fields of an event to the columns that hold them."""
    optional: frozenset[str]
    """The fields whose column may be missing."""
    partitioned: bool
    """Whether the rows are in partitions; each partition's name is the table's, an underscore, and more."""

    def holds(self, schema: str, table: str) -> bool:
        """Return whether rows of `schema`.`table` are rows of the outbox."""
        return schema == self.schema and (
            table == self.table or (self.partitioned and table.startswith(f"{self.table}_"))
        )

    def reader(self, columns: Sequence[Column]) -> Reader:
        """Return a reader of rows with `columns`; raises UndecodableChange naming a column that is missing."""
        places = {column.name: place for place, column in enumerate(columns)}
        plan, content_type = [], JSON
        for place, field in enumerate(FIELDS):
            name = self.columns.get(field)
            if name in places:
                convert = CONVERSIONS[field]
                if field == "payload":
                    oid = columns[places[name]].oid
                    content_type = _CONTENT_TYPES.get(oid, TEXT)
                    convert = bytea if oid == BYTEA else convert
                plan.append((place, places[name], convert))
            elif name is not None and field not in self.optional:
                raise UndecodableChange(
                    f"table {self.schema}.{self.table} has no column {name!r}", remedy=_missing(field)
                )
        names, of = [column.name for column in columns], f"a row of {self.schema}.{self.table}"
        return Reader(plan, names, of, content_type=content_type)


def layout(kind: Literal["native", "debezium"], table: str, columns: Mapping[str, str], *, partitioned: bool) -> Layout:
    """Return the layout `kind` for `table` (`schema.table`); `columns` (field to column) override its own.

    An empty column means that the table has none for that field. `partitioned` is what the server says of the table.
    Raises ConfigurationProblem for a field that does not exist, and for a required field with an empty column.
    """
    for field, column in columns.items():
        if field not in FIELDS:
            raise ConfigurationProblem(
                f"{field!r} is not a field of an event", remedy=f"the fields are {', '.join(FIELDS)}"
            )
        if not column and field in REQUIRED:
            raise ConfigurationProblem(f"every event needs {field}", remedy="name the column that holds it")
    schema, _, name = table.partition(".")
    return Layout(
        schema=schema,
        table=name,
        columns={field: column for field, column in {**_COLUMNS[kind], **columns}.items() if column},
        optional=frozenset({"created_at"} if kind == "debezium" else ()) - columns.keys(),
        partitioned=partitioned,
    )


def _missing(field: str) -> str:
    remedy = f'restore the column or name another: RELAY_OUTBOX_COLUMNS=\'{{"{field}": "..."}}\''
    return remedy if field in REQUIRED else f'{remedy}, with "" for none'


NATIVE = layout("native", "outbox.event", {}, partitioned=True)
"""The table that `relay setup` creates."""
