"""The options of `relay replay`, and what they mean. Pure, but for the time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from outboxkit.errors import ConfigurationProblem
from relay.core.position import Lsn
from relay.core.replay import Destination, Selection
from relay.operating import times
from relay.operating.replay.ranges.asked import AtEvent, AtLsn, AtSlot, AtTime, Begin, End

FromLsn = Annotated[str | None, typer.Option("--from-lsn", metavar="LSN", help="Begin behind a position in the WAL.")]
FromTime = Annotated[
    str | None, typer.Option("--from-time", metavar="TIME", help="Begin with what was committed at a time: 14:10, 2h.")
]
FromEvent = Annotated[str | None, typer.Option("--from-event", metavar="ID", help="Begin with an event.")]
FromSlot = Annotated[
    str | None, typer.Option("--from-slot", metavar="NAME", help="Begin where a replication slot stands; from the WAL.")
]
ToLsn = Annotated[str | None, typer.Option("--to-lsn", metavar="LSN", help="End at a position in the WAL.")]
ToTime = Annotated[str | None, typer.Option("--to-time", metavar="TIME", help="End with what was committed at a time.")]
ToEvent = Annotated[str | None, typer.Option("--to-event", metavar="ID", help="End with an event.")]
Aggregate = Annotated[
    str | None,
    typer.Option("--aggregate", metavar="TYPE[:ID]", help="Only events of these aggregates."),
]
Type = Annotated[str | None, typer.Option("--type", metavar="GLOB", help="Only these event types; with * and ?.")]
Exchange = Annotated[str | None, typer.Option(metavar="NAME", help="Publish to this exchange, whatever rows say.")]
Queue = Annotated[str | None, typer.Option(metavar="NAME", help="Publish to this queue directly.")]
Rate = Annotated[float | None, typer.Option(metavar="N", help="At most so many events a second.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the range and its counts. Publish nothing.")]


@dataclass(frozen=True, slots=True)
class Ends:
    """The texts of the options that name the two ends of a range."""

    from_lsn: str | None = None
    from_time: str | None = None
    from_event: str | None = None
    from_slot: str | None = None
    to_lsn: str | None = None
    to_time: str | None = None
    to_event: str | None = None

    def begin(self, now: datetime) -> Begin:
        """Return where the range begins; raises ConfigurationProblem unless one option says it."""
        found = [
            *_ends("--from", self.from_lsn, self.from_time, self.from_event, now),
            *([] if self.from_slot is None else [AtSlot(self.from_slot)]),
        ]
        if len(found) != 1:
            raise ConfigurationProblem(
                "a replay needs one begin", remedy="give one of --from-lsn, --from-time, --from-event and --from-slot"
            )
        return found[0]

    def end(self, now: datetime) -> End:
        """Return where the range ends; None for now. Raises ConfigurationProblem if two options say it."""
        found = _ends("--to", self.to_lsn, self.to_time, self.to_event, now)
        if len(found) > 1:
            raise ConfigurationProblem(
                "a replay has one end", remedy="give one of --to-lsn, --to-time and --to-event, or none for now"
            )
        return found[0] if found else None


def _ends(
    option: str, lsn: str | None, time: str | None, event: str | None, now: datetime
) -> list[AtLsn | AtTime | AtEvent]:
    found: list[AtLsn | AtTime | AtEvent] = []
    if lsn is not None:
        try:
            found.append(AtLsn(Lsn.parse(lsn)))
        except ValueError as error:
            raise ConfigurationProblem(f"{option}-lsn: {error}", remedy="`relay positions` lists LSNs") from error
    if time is not None:
        found.append(AtTime(times.moment(time, now=now, option=f"{option}-time")))
    if event is not None:
        found.append(AtEvent(event))
    return found


def selection(aggregate: str | None, event_type: str | None) -> Selection:
    """Return which events are replayed."""
    kind, separator, of = (aggregate or "").partition(":")
    if aggregate is not None and not kind:
        raise ConfigurationProblem(f"--aggregate: {aggregate!r} names no type", remedy="write TYPE or TYPE:ID")
    return Selection(kind or None, of if separator else None, event_type)


def destination(exchange: str | None, queue: str | None) -> Destination:
    """Return where it is published."""
    if exchange is not None and queue is not None:
        raise ConfigurationProblem("a replay goes to an exchange or to a queue", remedy="give one of the two options")
    for option, name in (("--exchange", exchange), ("--queue", queue)):
        if name is not None and not 1 <= len(name.encode()) <= 255:  # noqa: PLR2004 - AMQP's limit of a name
            raise ConfigurationProblem(f"{option} is no name", remedy="a name has 1 to 255 bytes")
    return Destination(exchange, queue)


def rate(asked: float | None) -> float | None:
    """Return the rate; raises ConfigurationProblem for one that is not positive."""
    if asked is not None and not 0 < asked < float("inf"):
        raise ConfigurationProblem(f"--rate: {asked} is not a rate", remedy="give a number of events a second")
    return asked
