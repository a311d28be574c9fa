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

A value is the text of `column::text`; see types.py. A domain is read as the type below it.

The content type of a message follows from the payload's column: json and jsonb are application/json, bytea is
application/octet-stream, any other type is text/plain; NULL changes nothing about it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from outboxkit.amqp.format import BINARY, JSON, TEXT
from outboxkit.errors import ConfigurationProblem
from relay.core.errors import UndecodableChange
from relay.sources import types
from relay.sources.fields import CONVERSIONS, FIELDS, REQUIRED, bytea, time
from relay.sources.reader import Reader

# 0 is our own table's payload, jsonb, whose type is not asked for.
_CONTENT_TYPES: Mapping[int, str] = {0: JSON, types.JSON: JSON, types.JSONB: JSON, types.BYTEA: BINARY}

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
    """Its type, or the one below its domain; 0 if the plugin was not asked for types."""


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
    """Whether the rows are in partitions."""
    time_unit: str = field(default="ms", compare=False)
    """The unit of a `created_at` that is a number: a key of fields.TIME_UNITS."""

    @property
    def name(self) -> str:
        """The table's name, with its schema."""
        return f"{self.schema}.{self.table}"

    @property
    def aggregate(self) -> list[str]:
        """The columns of the aggregate's type and id: their text says in which partition an event is."""
        return [self.columns["aggregate_type"], self.columns["aggregate_id"]]

    def needed(self) -> Mapping[str, str]:
        """Return the columns that a table must have, each with the field that it holds."""
        return {column: of for of, column in self.columns.items() if of not in self.optional}

    def reader(self, columns: Sequence[Column]) -> Reader:
        """Return a reader of rows with `columns`; raises UndecodableChange naming the columns that are missing."""
        places = {column.name: place for place, column in enumerate(columns)}
        self.require(places)
        oids = {of: columns[places[name]].oid for of, name in self.columns.items() if name in places}
        plan = [
            (place, places[self.columns[of]], self.conversion(of, oids[of]))
            for place, of in enumerate(FIELDS)
            if of in oids
        ]
        names, of = [column.name for column in columns], f"a row of {self.name}"
        return Reader(plan, names, of, content_type=_CONTENT_TYPES.get(oids["payload"], TEXT))

    def require(self, columns: Collection[str]) -> None:
        """Raise UndecodableChange, naming all that are missing, unless the needed ones are among `columns`."""
        missing = {column: of for column, of in self.needed().items() if column not in columns}
        if missing:
            raise UndecodableChange(
                f"table {self.name} has no column {', '.join(map(repr, missing))}", remedy=_missing(missing.values())
            )

    def conversion(self, of: str, oid: int) -> Callable[[Any], Any]:
        """Return what makes the field `of` from a value of type `oid`."""
        if of == "created_at":
            return time(self.time_unit)
        if of == "payload" and oid == types.BYTEA:
            return bytea
        convert, as_text = CONVERSIONS[of], types.AS_TEXT.get(oid)
        return convert if as_text is None else lambda value: convert(as_text(value))


def layout(
    kind: Literal["native", "debezium"],
    table: str,
    columns: Mapping[str, str],
    *,
    partitioned: bool,
    time_unit: str = "ms",
) -> Layout:
    """Return the layout `kind` for `table` (`schema.table`); `columns` (field to column) override its own.

    An empty column means that the table has none for that field. `partitioned` is what the server says of the table.
    Raises ConfigurationProblem for a field that does not exist, and for a required field with an empty column.
    """
    for of, column in columns.items():
        if of not in FIELDS:
            raise ConfigurationProblem(
                f"{of!r} is not a field of an event", remedy=f"the fields are {', '.join(FIELDS)}"
            )
        if not column and of in REQUIRED:
            raise ConfigurationProblem(f"every event needs {of}", remedy="name the column that holds it")
    schema, _, name = table.partition(".")
    return Layout(
        schema=schema,
        table=name,
        columns={of: column for of, column in {**_COLUMNS[kind], **columns}.items() if column},
        optional=frozenset({"created_at"} if kind == "debezium" else ()) - columns.keys(),
        partitioned=partitioned,
        time_unit=time_unit,
    )


def _missing(fields: Iterable[str]) -> str:
    named = ", ".join(f'"{of}": "..."' for of in fields)
    remedy = f"restore the columns or name others: RELAY_OUTBOX_COLUMNS='{{{named}}}'"
    return remedy if REQUIRED.issuperset(fields) else f'{remedy}, with "" for none'


NATIVE = layout("native", "outbox.event", {}, partitioned=True)
"""The table that `relay setup` creates."""
