"""Which table is the outbox, and which of its columns holds what. Pure.

A decoder hands over a row as the texts of its columns, as Postgres writes them, or as integers where they are; a
`Reader` makes the event of it. What each field of an event is in each layout, and what it is where the table has no
such column or the row has NULL there:

    field              native             debezium       without a column, or NULL
    id                 id                 id             refused
    seq                seq                               0
    aggregate_type     aggregate_type     aggregatetype  refused
    aggregate_id       aggregate_id       aggregateid    NULL is the empty text; the column must be there
    aggregate_version  aggregate_version                 0: this event has no version
    event_type         event_type         type           refused
    payload            payload            payload        NULL is JSON's null; the column must be there
    headers            headers                           none
    exchange           exchange                          the relay's exchange
    routing_key        routing_key                       made from the relay's template
    created_at         created_at         timestamp      when the transaction committed

A column that a layout names must be there, with one exception: a Debezium table may have no `timestamp`. Columns that
no field names are passed over. The debezium layout is the one that its outbox event router expects
(https://debezium.io/documentation/reference/stable/transformations/outbox-event-router.html#basic-outbox-table).

A payload is relayed byte for byte, under the content type of its column: json and jsonb as application/json, a bytea's
bytes as application/octet-stream, any other as its text, text/plain; NULL under its column's type too. A time may
be a timestamp (one without time zone is UTC), or an integer: milliseconds since 1970. One that Python's datetime cannot
hold, such as infinity, is taken for the time of the commit.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, NoReturn

from outboxkit.amqp.format import BINARY, JSON, TEXT
from outboxkit.errors import ConfigurationProblem
from relay.core.errors import UndecodableChange
from relay.core.event import Headers, OutboxEvent

FIELDS = tuple(field for field in OutboxEvent.__struct_fields__ if field != "content_type")
REQUIRED = frozenset({"id", "aggregate_type", "aggregate_id", "event_type", "payload"})
"""What every event has a place for."""
BYTEA = 17
"""The type oid of bytea (src/include/catalog/pg_type.dat); built-in types keep theirs."""
# Types are not asked for of our own table, whose payload is jsonb. A domain has an oid of its own, and is text.
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
_NO_HEADERS: Mapping[str, object] = Headers("{}", {})
_ABSENT: Mapping[str, object] = {
    "seq": 0, "aggregate_id": "", "aggregate_version": 0, "payload": b"null", "headers": _NO_HEADERS,
}  # fmt: skip
_ID, _AGGREGATE_TYPE, _EVENT_TYPE = map(FIELDS.index, ("id", "aggregate_type", "event_type"))
_CREATED_AT = FIELDS.index("created_at")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a timestamp of Postgres may be beyond the years 1 to 9999.
_BEYOND = re.compile(r"-?infinity|\d{5,}-.*|.* BC")


class Column(NamedTuple):
    """A column of a relation, as the stream tells it."""

    name: str
    oid: int = 0
    """Its type; 0 where the plugin was not asked for types."""


class Reader:
    """Reads the rows of one relation whose columns are known, or the messages of one kind.

    `plan` has, for each field that has a column: the field's place in an event, the column's place in a row, and
    what makes the field's value of the column's.
    """

    def __init__(
        self,
        plan: Sequence[tuple[int, int, Callable[[Any], Any]]],
        names: Sequence[str],
        of: str,
        *,
        content_type: str = JSON,
    ) -> None:
        self._plan = tuple(plan)
        self._absent: list[Any] = [*(_ABSENT.get(field) for field in FIELDS), content_type]
        self._names = names
        self._of = of

    def event(self, values: Sequence[str | int | None], committed_at: Callable[[], datetime]) -> OutboxEvent:
        """Return the event in a row of `values`, one for each column; raises UndecodableChange naming a column."""
        event = self._absent.copy()
        try:
            for place, column, convert in self._plan:
                value = values[column]
                if value is not None:
                    event[place] = convert(value)
        except (ValueError, RecursionError):
            self._refuse(values)
        if event[_CREATED_AT] is None:
            event[_CREATED_AT] = committed_at()
        if not event[_ID] or event[_AGGREGATE_TYPE] is None or event[_EVENT_TYPE] is None:
            empty = next(place for place in (_ID, _AGGREGATE_TYPE, _EVENT_TYPE) if not event[place])
            name = next(self._names[column] for place, column, _ in self._plan if place == empty)
            raise UndecodableChange(f"{name!r} of {self._of} is empty", remedy=_SKIP)
        return OutboxEvent(*event)

    def _refuse(self, values: Sequence[str | int | None]) -> NoReturn:
        for _, column, convert in self._plan:
            value = values[column]
            try:
                if value is not None:
                    convert(value)
            except (ValueError, RecursionError) as error:
                raise UndecodableChange(
                    f"{self._names[column]!r} of {self._of} cannot be read: {error}", remedy=_SKIP
                ) from error
        raise AssertionError("a value that could not be read can be read now")


@dataclass(frozen=True, slots=True)
class Layout:
    """A table of events; make it with `layout`."""

    schema: str
    table: str
    columns: Mapping[str, str]
    """From the fields of an event that the table has to the columns that hold them."""
    optional: frozenset[str]
    """The fields whose column may be missing."""
    partitioned: bool
    """Whether the table's rows stand in partitions, each called like the table, an underscore, and more."""

    def holds(self, schema: str, table: str) -> bool:
        """Tell whether a row of `schema`.`table` is a row of the outbox."""
        return schema == self.schema and (
            table == self.table or (self.partitioned and table.startswith(f"{self.table}_"))
        )

    def reader(self, columns: Sequence[Column]) -> Reader:
        """Return what reads rows of `columns`; raises UndecodableChange naming a column that is not among them."""
        places = {column.name: place for place, column in enumerate(columns)}
        plan, content_type = [], JSON
        for place, field in enumerate(FIELDS):
            name = self.columns.get(field)
            if name in places:
                convert = CONVERSIONS[field]
                if field == "payload":
                    oid = columns[places[name]].oid
                    content_type = _CONTENT_TYPES.get(oid, TEXT)
                    convert = _bytes if oid == BYTEA else convert
                plan.append((place, places[name], convert))
            elif name is not None and field not in self.optional:
                raise UndecodableChange(
                    f"table {self.schema}.{self.table} has no column {name!r}", remedy=_name_another(field)
                )
        names, of = [column.name for column in columns], f"a row of {self.schema}.{self.table}"
        return Reader(plan, names, of, content_type=content_type)


def layout(kind: Literal["native", "debezium"], table: str, columns: Mapping[str, str], *, partitioned: bool) -> Layout:
    """Return the layout `kind` on `table` (`schema.table`), with `columns` (field to column) in place of its own.

    An empty column says that the table has none for that field. `partitioned` is what the server says of the table.
    Raises ConfigurationProblem for a field that does not exist, or that no event can be without.
    """
    for field, column in columns.items():
        if field not in FIELDS:
            raise ConfigurationProblem(
                f"{field!r} is no field of an event", remedy=f"the fields are {', '.join(FIELDS)}"
            )
        if not column and field in REQUIRED:
            raise ConfigurationProblem(f"no event is without {field}", remedy="name the column that holds it")
    schema, _, name = table.partition(".")
    return Layout(
        schema=schema,
        table=name,
        columns={field: column for field, column in {**_COLUMNS[kind], **columns}.items() if column},
        optional=frozenset({"created_at"} if kind == "debezium" else ()) - columns.keys(),
        partitioned=partitioned,
    )


def members(of: str) -> Reader:
    """Return what reads an event whose values stand under its own field names, any but the required ones missing."""
    return Reader([(place, place, CONVERSIONS[field]) for place, field in enumerate(FIELDS)], FIELDS, of)


def _name_another(field: str) -> str:
    remedy = f'restore the column or name another: RELAY_OUTBOX_COLUMNS=\'{{"{field}": "..."}}\''
    return remedy if field in REQUIRED else f'{remedy}, with "" for none'


def _body(value: str | int) -> bytes:
    return str(value).encode()


def _bytes(value: str) -> bytes:
    r"""Read a bytea as bytea_output = hex writes it, `\x6f75`: https://www.postgresql.org/docs/current/datatype-binary.html."""
    return bytes.fromhex(value[2:])


def _headers(value: str | int) -> Mapping[str, object]:
    if value == "{}":
        return _NO_HEADERS
    text = str(value)
    headers = _JSON.decode(text)
    if not isinstance(headers, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of a value, and told as such
    return Headers(text, headers)


def _whole(text: str) -> int | float:
    """Read an integer; one of more digits than Python reads is infinite, like a fraction of that size.

    https://docs.python.org/3/library/stdtypes.html#int-max-str-digits. No message can carry it.
    """
    try:
        return int(text)
    except ValueError:
        return -math.inf if text.startswith("-") else math.inf


def refuse_constant(constant: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's json module takes: for its `parse_constant`."""
    raise ValueError(f"JSON has no {constant}")


_JSON = json.JSONDecoder(parse_int=_whole, parse_constant=refuse_constant)


def _time(value: str | int) -> datetime | None:
    text = str(value)
    try:
        if text.isdecimal():
            return _EPOCH + timedelta(milliseconds=int(text))
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        if text.isdecimal() or _BEYOND.fullmatch(text):
            return None
        raise
    return time if time.tzinfo else time.replace(tzinfo=UTC)


CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "id": str,
    "seq": int,
    "aggregate_type": str,
    "aggregate_id": str,
    "aggregate_version": int,
    "event_type": str,
    "payload": _body,
    "headers": _headers,
    "exchange": str,
    "routing_key": str,
    "created_at": _time,
}
_SKIP = "step over the transaction with `relay slot skip` and write the event again, or mend RELAY_OUTBOX_COLUMNS"

NATIVE = layout("native", "outbox.event", {}, partitioned=True)
"""The table that `relay setup` makes."""
