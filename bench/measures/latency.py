"""How long an event takes from its commit to RabbitMQ's confirm, at an even load.

There are two measures. From outside: from the commit's timestamp in Postgres to the arrival at a consumer on the same
machine. From the relay: its histogram of commit → confirm, which is exact at the buckets' bounds. A quorum queue
confirms before it delivers; a classic queue may deliver first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.instruments import completeness, figures, metrics
from bench.instruments.figures import Spread
from bench.load import arrivals, programs, queues
from bench.stage import Publisher, Stage, stage
from bench.watch import Watch, wait_for_quiet
from sandbox import Sandbox
from sandbox.machine.waiting import until

BOUNDS = (0.003, 0.02)
"""Seconds; bounds of the relay's buckets."""
STAGES = ("receive", "confirm", "total")
"""From the commit to its arrival at the relay, from there to the confirm, and both."""
_READY_SECONDS = 30.0
_LATE_SECONDS = 60.0
_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Latency:
    """One run at an even load."""

    queue: queues.Kind
    rate: int
    """Events per second, as requested."""
    achieved: float
    """Events per second, as committed."""
    events: int
    delivered_ms: Spread
    """Commit → delivered to a consumer."""
    confirmed_within: dict[str, float]
    """Milliseconds → the share of events with a commit → confirm of at most that, by the relay's histogram."""
    p50_ms: dict[str, float]
    """The median of each of `STAGES`, by the relay's histograms; the error is at most a bucket's width."""
    cores: dict[str, float]
    duplicates: int


def measure(
    box: Sandbox, *, kinds: Sequence[queues.Kind], rates: Sequence[int], seconds: int, window: int
) -> list[Latency]:
    """Load a relay evenly at each of `rates`, `seconds` long."""
    found = []
    for kind in kinds:
        for rate in rates:
            with stage(box, window=window) as place:
                place.rewind()
                found.append(_measure(place, kind, rate, rate * seconds))
    return found


def _measure(place: Stage, kind: queues.Kind, rate: int, events: int) -> Latency:
    times = place.place / "times"
    times.unlink(missing_ok=True)
    with place.queue("latency", kind) as queue:
        arguments = {"amqp_url": place.amqp_url, "queue": queue, "events": events, "times": str(times)}
        with programs.module(place.place, "bench.load.arrivals", arguments) as consumer, place.relay() as relay:
            until(times.exists, what="the queue is consumed", seconds=_READY_SECONDS)
            until(relay.endpoint.ready, what="the relay is ready", seconds=_READY_SECONDS)
            wait_for_quiet(events)
            watch, before = Watch(place, relay), relay.endpoint.metrics()
            watch.sample()
            _write(place, rate, events)
            watch.until_confirmed(events, every=0.1)
            consumer.finish(seconds=_LATE_SECONDS)
            after = _complete_metrics(relay, before, events)
    arrived = arrivals.read(times)
    commits = {str(event): float(at) for event, at in place.execute("bench_commits")}
    repeated = completeness.duplicates(commits, [event for event, _ in arrived])
    first = dict(reversed(arrived))
    span = max(commits.values()) - min(commits.values())
    use = figures.between(watch.samples[0], watch.samples[-1])
    return Latency(
        queue=kind,
        rate=rate,
        achieved=(events - 1) / span if span else 0.0,
        events=events,
        delivered_ms=figures.spread([(first[event] - at) * _MILLISECONDS for event, at in commits.items()]),
        confirmed_within={
            f"{bound * _MILLISECONDS:g}": figures.share_within(metrics.latency(before), metrics.latency(after), bound)
            for bound in BOUNDS
        },
        p50_ms={
            stage: figures.quantile(metrics.latency(before, stage), metrics.latency(after, stage), 0.5) * _MILLISECONDS
            for stage in STAGES
        },
        cores=use.cores,
        duplicates=repeated,
    )


def _write(place: Stage, rate: int, events: int) -> None:
    with place.even_load(rate, events) as writer:
        writer.finish(seconds=events / rate * 10 + _LATE_SECONDS)


def _complete_metrics(relay: Publisher, before: str, events: int) -> str:
    """Return the relay's metrics once they count every transaction, which is shortly after the last confirm."""

    def transactions(text: str) -> float:
        return metrics.latency(text).get(float("inf"), 0)

    def complete() -> str:
        text = relay.endpoint.metrics()
        return text if transactions(text) - transactions(before) >= events else ""

    return until(complete, what="every transaction is in the relay's histogram", seconds=_LATE_SECONDS)
