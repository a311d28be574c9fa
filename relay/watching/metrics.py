"""The metrics of a running relay, made from observations. It decides nothing.

Names and labels are a contract with users: base units, counters end in `_total`. Times from commit to confirm compare
the server's clock with this machine's, so both must be synchronised.
"""

import time
from collections.abc import Callable
from operator import sub
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge

from relay.core.observations import (
    Audited,
    Blocked,
    BrokerConnected,
    BrokerLost,
    CaughtUp,
    Confirmed,
    FenceReturned,
    HandedOver,
    Held,
    Nacked,
    NotStored,
    Observation,
    Parked,
    ReplayWindow,
    Returned,
    Settled,
    ShadowCompared,
    ShadowCompares,
    ShadowDiffers,
    ShadowPauses,
    Skipped,
    SlotBudget,
    SlotWatched,
    SourceLost,
    Standby,
    Streaming,
)
from relay.watching.histogram import Histogram

_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
_WAL_STATUS = ("reserved", "extended", "unreserved", "lost", "missing")
SOURCES = ("wal", "polling")
"""The modes of the active relay."""
SIDES = ("live", "shadow")
"""What shadow mode compares."""
_MODES = (*SOURCES, "standby", "none")


class About(NamedTuple):
    """What a relay is, and what it reads: the labels of `relay_info`."""

    name: str
    slot: str
    database: str
    system_identifier: str


class Metrics:
    """Counts observations; `mode`, `broker` and `lag` are what readiness is judged by."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self._published = Counter("relay_events_published", "Events with an outcome.", ["outcome"], registry=r)
        # From the start, so that the first of each is seen as an increase.
        self._confirmed, *_ = map(self._published.labels, ("confirmed", "nacked", "returned", "parked"))
        self._latency = Histogram(
            "relay_commit_to_confirm_seconds",
            "From commit to arrival (receive), from there to the confirm (confirm), and both (total), by transaction.",
            "stage",
            ["receive", "confirm", "total"],
            _BUCKETS,
        )
        r.register(self._latency)
        self._info = Gauge("relay_info", "What this relay reads: always 1.", About._fields, registry=r)
        self._mode = Gauge("relay_source_mode", "What the relay reads: 1 for the current mode.", ["mode"], registry=r)
        self._leader = Gauge("relay_leader", "1 while this relay is the active one.", registry=r)
        self._handovers = Counter(
            "relay_handover", "Changes from one source to the other.", ["from", "to", "reason"], registry=r
        )
        self._retained = Gauge("relay_slot_retained_bytes", "WAL that the slot keeps from removal.", registry=r)
        self._budget = Gauge("relay_slot_budget_bytes", "WAL that the slot may keep.", registry=r)
        self._window = Gauge("relay_replay_window_bytes", "WAL that is kept for replays.", registry=r)
        self._status = Gauge("relay_slot_wal_status", "1 for the current wal_status.", ["status"], registry=r)
        self._lag = Gauge("relay_outbox_lag_seconds", "Everything committed longer ago is confirmed.", registry=r)
        self._parked = Gauge("relay_parked_events", "Events that wait in relay.parked.", registry=r)
        self._not_stored = Counter(
            "relay_not_stored",
            "Work in Postgres beside the stream that failed and is tried again.",
            ["what"],
            registry=r,
        )
        self._connected = Gauge("relay_broker_connected", "1 while it is connected to RabbitMQ.", registry=r)
        self._blocked = Gauge("relay_broker_blocked", "1 while RabbitMQ takes no messages.", registry=r)
        self._held = Gauge(
            "relay_stream_held", "1 while a message that RabbitMQ does not take is tried again.", registry=r
        )
        self._fence = prometheus_client.Histogram(
            "relay_fence_roundtrip_seconds", "From a fence's writing to its return.", buckets=_BUCKETS, registry=r
        )
        self._skipped = Counter(
            "relay_poll_skipped", "Rows that were passed over, since another session has them.", ["lock"], registry=r
        )
        self._locked, self._aggregates = map(self._skipped.labels, ("row", "aggregate"))
        self._conflicts = Counter(
            "relay_poll_conflicts", "Rows that were found published by another poller.", registry=r
        )
        self._shadow = Gauge(
            "relay_shadow_comparing",
            "1 while shadow mode compares this source with the live stream.",
            ["source"],
            registry=r,
        )
        self._compared = Counter("relay_shadow_compared", "Events that both sources have given.", registry=r)
        self._pauses = Counter("relay_shadow_pauses", "Ends of a comparison, by reason.", ["reason"], registry=r)
        self._difference = Counter(
            "relay_shadow_difference", "Events that the sources have not given alike.", ["kind"], registry=r
        )
        for kind in ("missing_live", "missing_shadow", "order", "twice"):
            self._difference.labels(kind)
        self._leads = Histogram(
            "relay_shadow_seconds", "By how many seconds the first of both was ahead.", "first", SIDES, _BUCKETS
        )
        r.register(self._leads)
        self._missing = Gauge(
            "relay_audit_missing_events", "Events that were neither confirmed nor parked when last audited.", registry=r
        )
        self._audited = Gauge(
            "relay_audit_last_success_timestamp_seconds",
            "When events were last compared with none missing; 0 before.",
            registry=r,
        )
        self._in_flight = Gauge("relay_in_flight_messages", "Messages without an outcome.", registry=r)
        self.mode = "none"
        self.broker = False
        self._caught_up = time.monotonic()
        self._lag.set_function(self.lag)
        self._set_mode("none")

    def identify(self, about: About) -> None:
        """Name the relay, so that whoever reads its metrics knows whose they are."""
        self._info.labels(*about).set(1)

    def watch_in_flight(self, count: Callable[[], int]) -> None:
        """Take the number of messages in flight from `count` whenever it is asked for."""
        self._in_flight.set_function(count)

    def lag(self) -> float:
        """Return how many seconds ago everything had been confirmed."""
        return time.monotonic() - self._caught_up

    def __call__(self, seen: Observation) -> None:  # noqa: C901, PLR0912, PLR0915 - one case for each observation
        """Count `seen`."""
        match seen:
            case Confirmed(count):
                self._confirmed.inc(count)
                self._held.set(0)
            case Nacked(count):
                self._published.labels("nacked").inc(count)
                self._held.set(1)
            case Returned(count, policy=policy):
                self._published.labels("returned").inc(count)
                self._held.set(policy == "retry")
            case Held():
                self._held.set(1)
            case Parked(ids):
                self._published.labels("parked").inc(len(ids))
                self._parked.inc(len(ids))
            case Settled(committed_at, received_at, confirmed_at):
                self._latency.observe("receive", map(sub, received_at, committed_at))
                self._latency.observe("confirm", map(confirmed_at.__sub__, received_at))
                self._latency.observe("total", map(confirmed_at.__sub__, committed_at))
            case CaughtUp(as_of):
                self._caught_up = max(self._caught_up, as_of)
            case Skipped(locked, aggregates, conflicts):
                self._locked.inc(locked)
                self._aggregates.inc(aggregates)
                self._conflicts.inc(conflicts)
            case ShadowCompares(source):
                self._shadow.labels(source).set(1)
            case ShadowPauses(source, reason):
                self._shadow.labels(source).set(0)
                self._pauses.labels(reason).inc()
            case ShadowCompared(live, shadow):
                self._compared.inc(len(live) + len(shadow))
                self._leads.observe("live", live)
                self._leads.observe("shadow", shadow)
            case ShadowDiffers(differences):
                for difference in differences:
                    self._difference.labels(difference.kind).inc()
            case FenceReturned(seconds):
                self._fence.observe(seconds)
            case SlotWatched(retained_bytes, _, wal_status, _, parked):
                self._retained.set(retained_bytes)
                self._parked.set(parked)
                for status in _WAL_STATUS:
                    self._status.labels(status).set(status == wal_status)
            case Audited(compared, missing):
                self._missing.set(missing)
                if compared and not missing:
                    self._audited.set_to_current_time()
            case SlotBudget(budget):
                self._budget.set(budget)
            case ReplayWindow(retained_bytes):
                self._window.set(retained_bytes)
            case NotStored(what):
                self._not_stored.labels(what).inc()
            case Blocked(blocked):
                self._blocked.set(blocked)
            case HandedOver(source, to, reason):
                self._handovers.labels(source, to, reason).inc()
            case Streaming(mode):
                self._set_mode(mode)
            case Standby():
                self._set_mode("standby")
            case SourceLost():
                self._set_mode("none")
            case BrokerConnected():
                self.broker = True
                self._connected.set(1)
            case BrokerLost():
                self.broker = False
                self._connected.set(0)
                self._blocked.set(0)
                self._held.set(0)
            case _:
                pass

    def _set_mode(self, mode: str) -> None:
        self.mode = mode
        self._leader.set(mode in SOURCES)
        for each in _MODES:
            self._mode.labels(each).set(each == mode)
