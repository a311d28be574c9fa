"""The relay that runs on this machine: what its HTTP server at RELAY_HTTP_ADDRESS reports. It is asked once.

Any relay may answer there, so the answer says which one it is.
"""

import http.client
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from outboxkit.address import parse_address
from relay.watching.metrics import About

_TIMEOUT = 2.0
_OK, _UNAVAILABLE = 200, 503


@dataclass(frozen=True, slots=True)
class Lead:
    """For how many events one side was first, and by how many seconds on average."""

    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ShadowSummary:
    """What shadow mode has found since the relay started."""

    source: str
    comparing: bool
    compared: int
    differences: Mapping[str, int]
    """By kind; kinds without any are left out."""
    pauses: Mapping[str, int]
    """By reason."""
    live_first: Lead
    shadow_first: Lead


@dataclass(frozen=True, slots=True)
class LocalRelay:
    """What a relay knows about itself and SQL does not; `lag_seconds` is the metric of that name."""

    about: About
    mode: str
    in_flight: int
    lag_seconds: float
    confirmed: float
    """Events confirmed since it started."""
    blocked: bool
    held: bool
    """Whether a message that RabbitMQ does not accept holds the stream while it is tried again."""
    not_ready: tuple[str, ...]
    """What /readyz reports as not ready: source, broker, lag."""
    skipped: int = 0
    """Rows that it passed over, since another session had them or their aggregate locked."""
    conflicts: int = 0
    """Rows that it found published by another poller."""
    shadow: ShadowSummary | None = None
    """None without RELAY_SHADOW, or before it has begun."""


def ask(address: str | None) -> LocalRelay | None:
    """Return what the relay at `address` (`host:port`) reports; None if no relay answers there in time."""
    if not address:
        return None
    host, port = parse_address(address)
    try:
        about, metrics = read(_get(host, port, "/metrics"))
        ready = json.loads(_get(host, port, "/readyz"))
        return LocalRelay(
            about=about,
            mode=next((mode for mode in ("wal", "polling", "standby") if metrics[f"relay_source_mode {mode}"]), "none"),
            in_flight=int(metrics["relay_in_flight_messages"]),
            lag_seconds=metrics["relay_outbox_lag_seconds"],
            confirmed=metrics.get("relay_events_published_total confirmed", 0.0),
            blocked=bool(metrics["relay_broker_blocked"]),
            held=bool(metrics.get("relay_stream_held", 0.0)),
            skipped=int(sum(metrics.get(f"relay_poll_skipped_total {lock}", 0.0) for lock in ("row", "aggregate"))),
            conflicts=int(metrics.get("relay_poll_conflicts_total", 0.0)),
            shadow=shadow(metrics),
            not_ready=tuple(sorted(name for name, holds in ready.items() if not holds)),
        )
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return None


def shadow(metrics: Mapping[str, float]) -> ShadowSummary | None:
    """Return what the samples of a relay's metrics say of its shadow."""
    sources = _labelled(metrics, "relay_shadow_comparing")
    if not sources:
        return None
    (source, comparing), *_ = sources.items()
    differences = _labelled(metrics, "relay_shadow_difference_total")
    return ShadowSummary(
        source=source,
        comparing=bool(comparing),
        compared=int(metrics["relay_shadow_compared_total"]),
        differences={kind: int(count) for kind, count in differences.items() if count},
        pauses={reason: int(count) for reason, count in _labelled(metrics, "relay_shadow_pauses_total").items()},
        live_first=_lead(metrics, "live"),
        shadow_first=_lead(metrics, "shadow"),
    )


def _lead(metrics: Mapping[str, float], first: str) -> Lead:
    events = int(metrics[f"relay_shadow_seconds_count {first}"])
    return Lead(events, metrics[f"relay_shadow_seconds_sum {first}"] / events if events else 0.0)


def _labelled(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    """Return the samples of `name` by their only label."""
    return {key.removeprefix(f"{name} "): value for key, value in metrics.items() if key.startswith(f"{name} ")}


def _get(host: str, port: int, path: str) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status not in {_OK, _UNAVAILABLE}:
            raise ValueError(f"{path} answers {response.status}")
        return response.read().decode()
    finally:
        connection.close()


def read(text: str) -> tuple[About, dict[str, float]]:
    """Return whose metrics these are, and each sample under its name and the values of its labels."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    (info,) = (sample.labels for sample in samples if sample.name == "relay_info")
    return About(**info), {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for sample in samples
        if math.isfinite(sample.value)
    }
