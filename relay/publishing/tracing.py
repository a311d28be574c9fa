"""Spans for messages that belong to a trace. Loaded only with RELAY_TRACES; needs the extra `otel`.

A row with a W3C `traceparent` among its headers gets a producer span, from publishing to the confirm. The span is a
child of that context and linked to it (https://opentelemetry.io/docs/specs/semconv/messaging/). The headers of the
message are not changed. OpenTelemetry reads its own OTEL_* variables, and exports in a thread: a collector that is away
delays no message, and a stop by two seconds at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from relay.core.event import Message
from relay.core.ports import Outcomes, Parcel, Publisher, Rejection

_LAST_SPANS_SECONDS = 2.0
_CONTEXT = TraceContextTextMapPropagator()


@contextmanager
def traced(publisher: Publisher, *, name: str) -> Iterator[Publisher]:
    """Yield `publisher` with spans; `name` is the service's name unless OTEL_SERVICE_NAME is set."""
    resource = Resource.create({SERVICE_NAME: name}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield TracedPublisher(publisher, provider.get_tracer("relay"))
    finally:
        # This exports the last spans; with a collector that is away, it would take longer than a stop may.
        ending = Thread(target=provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(_LAST_SPANS_SECONDS)


class TracedPublisher:
    """Wraps `publisher`: begins a span when it publishes a message, and ends it with the outcome."""

    def __init__(self, publisher: Publisher, tracer: Tracer) -> None:
        self._publisher = publisher
        self._tracer = tracer
        self._outcomes: Outcomes | None = None
        self._spans: dict[str, Span] = {}

    # The publisher's interface.

    def notify(self, outcomes: Outcomes) -> None:
        """Report to `outcomes` what becomes of each parcel."""
        self._outcomes = outcomes
        self._publisher.notify(self)

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Begin a span for each message that belongs to a trace, and publish them all."""
        for parcel in parcels:
            if (span := self._begin(parcel.message)) is not None:
                self._spans[parcel.message.id] = span
        await self._publisher.publish(parcels)

    async def drained(self) -> None:
        """Return when every parcel taken has an outcome."""
        await self._publisher.drained()

    def in_flight(self) -> int:
        """Return how many parcels have no outcome yet."""
        return self._publisher.in_flight()

    def forget(self) -> None:
        """Drop everything without an outcome, and the connection."""
        self._publisher.forget()
        for message_id in list(self._spans):
            self._end(message_id, "dropped")

    async def away(self, seconds: float) -> None:
        """Return when there has been no connection for `seconds`."""
        await self._publisher.away(seconds)

    async def run(self) -> None:
        """Keep the connection to the broker until cancelled."""
        await self._publisher.run()

    # The outcomes that the publisher reports.

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        """End the spans of confirmed messages."""
        for parcel in parcels:
            self._end(parcel.message.id)
        if self._outcomes is not None:
            self._outcomes.confirmed(parcels)

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """End the spans of rejected messages, with the reason."""
        for rejection in rejections:
            self._end(rejection.parcel.message.id, rejection.reason)
        if self._outcomes is not None:
            self._outcomes.rejected(rejections)

    def _begin(self, message: Message) -> Span | None:
        context = _CONTEXT.extract(_trace_headers(message.headers))
        origin = get_current_span(context).get_span_context()
        if not origin.is_valid:
            return None
        return self._tracer.start_span(
            f"publish {message.route.exchange}",
            context,
            SpanKind.PRODUCER,
            {
                "messaging.system": "rabbitmq",
                "messaging.operation.type": "send",
                "messaging.operation.name": "publish",
                "messaging.destination.name": message.route.exchange,
                "messaging.rabbitmq.destination.routing_key": message.route.routing_key,
                "messaging.message.id": message.id,
                "messaging.message.body.size": len(message.body),
            },
            links=[Link(origin)],
        )

    def _end(self, message_id: str, error: str | None = None) -> None:
        span = self._spans.pop(message_id, None)
        if span is not None:
            if error is not None:
                span.set_status(StatusCode.ERROR, error)
                span.set_attribute("error.type", error)
            span.end()


def _trace_headers(headers: Mapping[str, object]) -> dict[str, str]:
    found = {name: headers.get(name) for name in ("traceparent", "tracestate")}
    return {name: value for name, value in found.items() if isinstance(value, str)}
