"""One log line for each incident, with fixed keys; never one for each message."""

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
    Stored,
    Streaming,
)

log = structlog.get_logger()
_NACKED = Problem(
    "a queue for it is full (x-overflow is reject-publish), or RabbitMQ failed to store it",
    remedy="it is tried again, and later messages wait for it: make room in its queues, see RabbitMQ's log, or skip "
    "and park it with `relay slot skip`",
)
_NOT_DRAINED = "the next run publishes these messages again, with the rest of their transactions"


class Logbook:
    """Logs observations; an incident that lasts is logged once, until something else happens on its side."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}

    def __call__(self, seen: Observation) -> None:  # noqa: C901, PLR0912 - one case for each incident
        """Log `seen` if it is an incident."""
        match seen:
            case Streaming(mode, start, details):
                self._logged.pop("source", None)
                log.info("streaming", source=mode, start=str(start), **details)
            case Standby(problem):
                self._once("source", "standby", problem)
            case SourceLost(problem):
                self._once("source", "source not available", problem)
            case BrokerConnected(broker, again):
                self._logged.pop("broker", None)
                if "held" not in self._logged:
                    log.info("publishing", broker=broker, again=again)
            case BrokerLost(problem):
                self._logged.pop("message", None)
                self._logged.pop("held", None)
                self._once("broker", "broker not available", problem)
            case Blocked(blocked):
                log.warning("broker blocked" if blocked else "broker unblocked", remedy="see RabbitMQ's alarms")
            case Confirmed():
                self._logged.pop("message", None)
                if self._logged.pop("held", None):
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
            case Stored(what):
                if self._logged.pop(what, None):
                    log.info("stored again", what=what)
            case NotDrained(in_flight):
                log.warning("not drained", in_flight=in_flight, remedy=_NOT_DRAINED)
            case Stopped(confirmed, position):
                log.info("stopped", confirmed=confirmed, position=None if position is None else str(position))
            case _:
                pass

    def _once(self, side: str, event: str, problem: Problem, **more: Any) -> None:  # noqa: ANN401 - log fields
        if self._logged.get(side) != problem.what:
            self._logged[side] = problem.what
            log.warning(event, reason=problem.what, remedy=problem.remedy, **more)
