"""Makes events from rows whose columns are known, or from messages. Pure.

A decoder passes a row as the values of its columns: the texts that Postgres writes, or integers.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NoReturn

from outboxkit.amqp.format import JSON
from relay.core.errors import UndecodableChange
from relay.core.event import Defective, OutboxEvent
from relay.sources.fields import CONVERSIONS, DEFAULTS, FIELDS, time

_ID, _AGGREGATE_TYPE, _EVENT_TYPE = map(FIELDS.index, ("id", "aggregate_type", "event_type"))
_HEADERS, _CREATED_AT = map(FIELDS.index, ("headers", "created_at"))
_TRANSACTION, _PLACE = map(OutboxEvent.__struct_fields__.index, ("transaction", "place"))
_SKIP = "skip the transaction with `relay slot skip` and write the event again, or correct RELAY_OUTBOX_COLUMNS"


class Reader:
    """Reads the rows of one relation, or the messages of one prefix.

    `plan` has, for each field with a column: the field's place in an event, the column's place in a row, and the
    conversion. `names` are the columns', and `of` says in errors what is read.
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
        self._defaults: list[Any] = [*(DEFAULTS.get(field) for field in FIELDS), content_type, None, None, None]
        self._names = names
        self._of = of

    def event(
        self,
        values: Sequence[str | int | None],
        committed_at: Callable[[], datetime],
        transaction: int | None = None,
        place: int | None = None,
    ) -> OutboxEvent:
        """Return the event in a row of `values`, one for each column; raises UndecodableChange naming a column.

        `place` is which event of its `transaction` it is, if the caller knows.
        """
        event = self._defaults.copy()
        try:
            for field, column, convert in self._plan:
                value = values[column]
                if value is not None:
                    event[field] = convert(value)
        except (ValueError, RecursionError):
            self._refuse(values)
        if event[_CREATED_AT] is None:
            event[_CREATED_AT] = committed_at()
        event[_TRANSACTION], event[_PLACE] = transaction, place
        if not event[_ID] or event[_AGGREGATE_TYPE] is None or event[_EVENT_TYPE] is None:
            self._complete(event)
        return OutboxEvent(*event)

    def _complete(self, event: list[Any]) -> None:
        """Make `event`, which lacks a type, one that is parked; raises UndecodableChange if it lacks an id."""
        lacks = [place for place in (_ID, _AGGREGATE_TYPE, _EVENT_TYPE) if not event[place]]
        name = next(self._names[column] for place, column, _ in self._plan if place == lacks[0])
        why = f"{name!r} of {self._of} is empty"
        if not event[_ID]:
            raise UndecodableChange(why, remedy=_SKIP)
        for place in lacks:
            event[place] = ""
        event[_HEADERS] = Defective(getattr(event[_HEADERS], "text", "{}"), why)

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


def message_reader(of: str, *, time_unit: str) -> Reader:
    """Return a reader of messages, whose values stand in the order of `FIELDS`."""
    conversions = {**CONVERSIONS, "created_at": time(time_unit)}
    return Reader([(place, place, conversions[field]) for place, field in enumerate(FIELDS)], FIELDS, of)
