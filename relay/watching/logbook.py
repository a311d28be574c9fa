"""One log line for each incident, with fixed keys; never one for each message.

What may come with each message or with each attempt (returned, nacked, parked, not stored) is told by the rule of
`incidents.py`: at its beginning, then once a minute with its count, and at its end. A server that is away, and a
message that is refused, are told once, until that is over.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import structlog

from outboxkit.errors import Problem
from relay.core.observations import (
    Audited,
    Blocked,
    BrokerConnected,
    BrokerLost,
    Confirmed,
    Difference,
    HandedOver,
    Held,
    Nacked,
    NotDrained,
    NotHandedOver,
    NotPolled,
    NotStored,
    Observation,
    Parked,
    ReplayWindowDropped,
    ReplayWindowMade,
    Retired,
    Returned,
    ShadowCompares,
    ShadowDiffers,
    ShadowPauses,
    SlotBudget,
    SlotFills,
    SlotWaits,
    SourceLost,
    Standby,
    Stopped,
    Stored,
    Streaming,
)
from relay.watching.differences import DIFFERENCES, FewLines
from relay.watching.incidents import Incidents

log = structlog.get_logger()
_BIND = (
    "bind a queue to this routing key; if queues by hash are bound to it, `relay check --topology hash:N` says why "
    "they do not get the message"
)
_NACKED = "a queue for it is full (x-overflow is reject-publish), or RabbitMQ failed to store it"
_MAKE_ROOM = "it is tried again, and later messages wait for it: make room in its queues, see RabbitMQ's log"
_FILLS = Problem(
    "the slot retains half of the WAL that RELAY_SLOT_BUDGET allows, or more",
    remedy="`relay status` says why the relay does not catch up, and the line `slot budget` what happens at the budget",
)
_LET_GO = "the relay drops the slot and polls the table; it keeps the slot of an outbox that cannot be polled"
_KEPT = "the relay keeps the slot and only warns, since RELAY_SOURCE=wal; watch the server's disk"
_ANOTHER = "the relay makes it again from its own slot: replays from the WAL may begin there, and no earlier"
_NO_OTHER = "replays read the table"
_IN_ORDER = ("first start", "works again", "asked for")
"""Reasons of a hand-over that nobody has to look into."""
_PAUSES = {
    "handover": "the live stream has ended, or reads the same source now",
    "behind": "one source gives more than may wait for the other; it begins anew",
    "failed": "the other source cannot be read; it is tried again",
}


class Remedies(NamedTuple):
    """What to do about messages of what publishes them."""

    skip: str
    """One holds all later ones, and RabbitMQ is not to be made to take it."""
    not_drained: str
    """They were in flight at the end."""
    not_stored: str
    """None was in flight, and the position was not stored any more."""


OF_THE_RELAY = Remedies(
    "or skip and park it with `relay slot skip`",
    "the next run publishes these messages again, with the rest of their transactions",
    "the next run goes on from the position, or marks, stored last; what was published after that is published again",
)


class _Kind(NamedTuple):
    """What incidents have in common that are told together."""

    event: str
    what: str
    """What could not be stored; the same for all others."""
    fields: tuple[tuple[str, object], ...]
    """What each line of it says."""


class Logbook:
    """Logs observations."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, remedies: Remedies = OF_THE_RELAY) -> None:
        self._clock = clock
        self._remedies = remedies
        self._logged: dict[str, str] = {}
        self._incidents: Incidents[_Kind] = Incidents()
        self._shadow_lines = FewLines()

    def __call__(self, seen: Observation) -> None:  # noqa: C901, PLR0912, PLR0915 - one case for each incident
        """Log `seen` if it is an incident, and the counts that are due."""
        if self._incidents:
            for kind, count in self._incidents.due(self._clock()):
                _warn(kind, count)
        match seen:
            case Streaming(mode, start, details):
                self._logged.pop("source", None)
                log.info("streaming", source=mode, start=str(start), **details)
            case HandedOver(source, to, reason, detail, position, duplicates):
                self._logged.pop(f"to {to}", None)
                known = {} if duplicates is None else {"duplicates": duplicates}
                fields = {"from": source, "to": to, "reason": reason, "detail": detail, "position": str(position)}
                tell = log.info if reason in _IN_ORDER else log.warning
                tell("handed over", **fields, **known)
            case NotHandedOver(to, problem):
                self._once(f"to {to}", "not handed over", problem, to=to)
            case SlotWaits(problem):
                log.info("a new slot waits", reason=problem.what, remedy=problem.remedy)
            case NotPolled(problem):
                self._once("polled", "not polled", problem)
            case SlotBudget(budget, let_go):
                log.info("slot budget", budget_bytes=budget, then=_LET_GO if let_go else _KEPT)
            case SlotFills(retained, budget):
                self._count("the slot fills", _FILLS, 1, {"retained_bytes": retained, "budget_bytes": budget})
            case ReplayWindowMade(slot):
                log.info("replay window made", slot=slot)
            case ReplayWindowDropped(slot, reason, wanted):
                tell = log.warning if wanted else log.info
                tell("replay window dropped", slot=slot, reason=reason, then=_ANOTHER if wanted else _NO_OTHER)
            case Retired(partition):
                log.info("partition dropped", partition=partition)
            case Audited(_, missing, first):
                self._audited(missing, first)
            case Standby(problem):
                self._once("source", "standby", problem)
            case SourceLost(problem):
                self._once("source", "source not available", problem)
            case BrokerConnected(broker, again):
                self._logged.pop("broker", None)
                if "held" not in self._logged:
                    log.info("publishing", broker=broker, again=again)
            case BrokerLost(problem):
                self._logged.pop("held", None)
                self._once("broker", "broker not available", problem)
            case Blocked(blocked):
                log.warning("broker blocked" if blocked else "broker unblocked", remedy="see RabbitMQ's alarms")
            case Confirmed():
                if self._logged.pop("held", None):
                    log.info("message accepted")
            case Returned(count, first, reason, policy):
                problem = Problem(reason, remedy=_BIND)
                self._count("message returned", problem, count, asdict(first), policy=policy)
            case Nacked(count, first):
                problem = Problem(_NACKED, remedy=f"{_MAKE_ROOM}, {self._remedies.skip}")
                self._count("message nacked", problem, count, asdict(first))
            case Held(message, problem):
                told = Problem(problem.what, remedy=f"{problem.remedy}, {self._remedies.skip}")
                self._once("held", "message refused", told, **asdict(message))
            case Parked(ids, reasons):
                kinds = tuple(sorted(set(reasons)))
                kind = _Kind("events parked", "", (("reasons", kinds), ("remedy", "see `relay parked list`")))
                self._tell(kind, len(ids), {"first": ids[0]})
            case NotStored(what, problem):
                self._count("not stored", problem, 1, {}, what=what)
            case Stored(what):
                untold = self._incidents.over(lambda kind: kind.what == what)
                if untold is not None:
                    log.info("stored again", what=what, count=untold)
            case ShadowCompares(source, since):
                self._logged.pop("shadow", None)
                log.info("shadow compares", source=source, since_transaction=since)
            case ShadowPauses(source, reason):
                if self._logged.get("shadow") != reason:
                    self._logged["shadow"] = reason
                    log.info("shadow pauses", source=source, reason=_PAUSES[reason])
            case ShadowDiffers(differences):
                for difference in differences:
                    self._differs(difference)
            case NotDrained(in_flight):
                remedy = self._remedies.not_drained if in_flight else self._remedies.not_stored
                log.warning("not drained", in_flight=in_flight, remedy=remedy)
            case Stopped(confirmed, position):
                for kind, count in self._incidents.rest():
                    _warn(kind, count)
                log.info("stopped", confirmed=confirmed, position=None if position is None else str(position))
            case _:
                pass

    def _differs(self, difference: Difference) -> None:
        """Tell of `difference` on a line of its own, if there were few of its kind; else count it."""
        what, remedy = DIFFERENCES[difference.kind]
        if self._shadow_lines.may_tell(self._clock()):
            fields = {name: value for name, value in asdict(difference).items() if name != "kind"}
            log.warning("shadow differs", kind=difference.kind, reason=what, remedy=remedy, **fields)
        else:
            self._count("shadow differs", Problem(what, remedy=remedy), 1, {}, kind=difference.kind)

    def _audited(self, missing: int, first: int | None) -> None:
        """Say once that events are missing, again when there are more, and once that none is any more."""
        before = self._logged.get("audit")
        if missing:
            self._logged["audit"] = str(missing)
            if before is None or missing > int(before):
                log.warning("events missing", count=missing, first=first, remedy="see `relay audit`")
        elif self._logged.pop("audit", None):
            log.info("no event missing")

    def _count(self, event: str, problem: Problem, count: int, first: dict[str, object], **more: str) -> None:
        fields = {"reason": problem.what, "remedy": problem.remedy, **more}
        self._tell(_Kind(event, more.get("what", ""), tuple(fields.items())), count, first)

    def _tell(self, kind: _Kind, count: int, first: dict[str, object]) -> None:
        if self._incidents.seen(kind, count, self._clock()):
            _warn(kind, count, **first)

    def _once(self, side: str, event: str, problem: Problem, **more: Any) -> None:  # noqa: ANN401 - log fields
        if self._logged.get(side) != problem.what:
            self._logged[side] = problem.what
            log.warning(event, reason=problem.what, remedy=problem.remedy, **more)


def _warn(kind: _Kind, count: int, **more: object) -> None:
    log.warning(kind.event, count=count, **dict(kind.fields), **more)
