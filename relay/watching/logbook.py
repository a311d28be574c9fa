"""One log line for each incident, with fixed keys; none for a message, and none for the same incident twice."""

from dataclasses import asdict
from typing import Any

import structlog

from outboxkit.errors import Problem
from relay.core.observations import (
    Blocked,
    BrokerConnected,
    BrokerLost,
    Confirmed,
    Held,
    Nacked,
    NotDrained,
    NotStored,
    Observation,
    Parked,
    Returned,
    SourceLost,
    Standby,
    Stopped,
    Streaming,
)

log = structlog.get_logger()
_NACKED = Problem(
    "a queue that it goes to is full (x-overflow is reject-publish), or RabbitMQ failed at it",
    remedy="it is tried again, and holds up what is behind it: make room in its queues, see RabbitMQ's log, or step "
    "over it with `relay slot skip`, which parks it",
)
_NOT_DRAINED = "the next run publishes these again, with the rest of their transactions"


class Logbook:
    """Writes what it observes; an incident that lasts is told once, until something else happens on its side."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def __call__(self, seen: Observation) -> None:  # noqa: C901, PLR0912 - one case for each incident
        """Log `seen` if it is an incident."""
        match seen:
            case Streaming(mode, start, details):
                self._told.pop("source", None)
                log.info("streaming", source=mode, start=str(start), **details)
            case Standby(problem):
                self._once("source", "standby", problem)
            case SourceLost(problem):
                self._once("source", "source not available", problem)
            case BrokerConnected(broker, again):
                self._told.pop("broker", None)
                if "held" not in self._told:
                    log.info("publishing", broker=broker, again=again)
            case BrokerLost(problem):
                self._told.pop("message", None)
                self._told.pop("held", None)
                self._once("broker", "broker not available", problem)
            case Blocked(blocked):
                log.warning("broker blocked" if blocked else "broker unblocked", remedy="see RabbitMQ's alarms")
            case Confirmed():
                self._told.pop("message", None)
                if self._told.pop("held", None):
                    log.info("message accepted")
            case Returned(_, first, reason, policy):
                problem = Problem(reason, remedy="bind a queue to this routing key")
                self._once("message", "message returned", problem, **asdict(first), policy=policy)
            case Nacked(_, first):
                self._once("message", "message nacked", _NACKED, **asdict(first))
            case Held(message, problem):
                self._once("held", "message refused", problem, **asdict(message))
            case Parked(ids, reasons):
                log.warning("events parked", count=len(ids), first=ids[0], reasons=sorted(set(reasons)),
                            remedy="see `relay parked list`")  # fmt: skip
            case NotStored(what, problem):
                self._once(what, "not stored", problem, what=what)
            case NotDrained(in_flight):
                log.warning("not drained", in_flight=in_flight, remedy=_NOT_DRAINED)
            case Stopped(confirmed, position):
                log.info("stopped", confirmed=confirmed, position=None if position is None else str(position))
            case _:
                pass

    def _once(self, side: str, event: str, problem: Problem, **more: Any) -> None:  # noqa: ANN401 - log fields
        if self._told.get(side) != problem.what:
            self._told[side] = problem.what
            log.warning(event, reason=problem.what, remedy=problem.remedy, **more)
