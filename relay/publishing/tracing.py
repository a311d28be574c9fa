"""Spans for messages that belong to a trace, where RELAY_TRACES asks for them; loaded only then, with the extra `otel`.

A row whose headers carry a W3C `traceparent` gets a producer span, from being handed to the publisher until the broker
has confirmed it: a child of that context, and linked to it (https://opentelemetry.io/docs/specs/semconv/messaging/).
The message's own headers stay the row's. Where spans go is told by the standard OTEL_* variables, which OpenTelemetry
reads itself; they leave in a thread of its own, so that a collector that is away holds up no message, and a stop for
two seconds at most.
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
    """Yield `publisher` with spans; `name` is the service's unless OTEL_SERVICE_NAME says otherwise."""
    resource = Resource.create({SERVICE_NAME: name}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield TracedPublisher(publisher, provider.get_tracer("relay"))
    finally:
        # What is left goes out now, but a collector that does not answer is tried for longer than a stop may take.
        ending = Thread(target=provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(_LAST_SPANS_SECONDS)


class TracedPublisher:
    """Stands before `publisher`, and sees what is handed to it and what becomes of it."""

    def __init__(self, publisher: Publisher, tracer: Tracer) -> None:
        self._publisher = publisher
        self._tracer = tracer
        self._outcomes: Outcomes | None = None
        self._spans: dict[str, Span] = {}

    # What the publisher is asked.

    def notify(self, outcomes: Outcomes) -> None:
        """Tell `outcomes` what becomes of what is published."""
        self._outcomes = outcomes
        self._publisher.notify(self)

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Begin a span for each message that belongs to a trace, and publish them all."""
        for parcel in parcels:
            if (span := self._begin(parcel.message)) is not None:
                self._spans[parcel.message.id] = span
        await self._publisher.publish(parcels)

    async def settled(self) -> None:
        """Return when every parcel taken has an outcome."""
        await self._publisher.settled()

    def in_flight(self) -> int:
        """Return how many parcels have no outcome yet."""
        return self._publisher.in_flight()

    def forget(self) -> None:
        """Drop everything without an outcome, and the connection."""
        self._publisher.forget()
        for message_id in list(self._spans):
            self._end(message_id, "dropped")

    async def away(self, seconds: float) -> None:
        """Return when the broker has not been there for so long."""
        await self._publisher.away(seconds)

    async def run(self) -> None:
        """Keep the connection to the broker until cancelled."""
        await self._publisher.run()

    # What the publisher tells.

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        """End the spans of what the broker has taken."""
        for parcel in parcels:
            self._end(parcel.message.id)
        if self._outcomes is not None:
            self._outcomes.confirmed(parcels)

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        """End the spans of what cannot be published, with the reason."""
        for rejection in rejections:
            self._end(rejection.parcel.message.id, rejection.reason)
        if self._outcomes is not None:
            self._outcomes.rejected(rejections)

    def _begin(self, message: Message) -> Span | None:
        context = _CONTEXT.extract(_carried(message.headers))
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


def _carried(headers: Mapping[str, object]) -> dict[str, str]:
    carried = {name: headers.get(name) for name in ("traceparent", "tracestate")}
    return {name: value for name, value in carried.items() if isinstance(value, str)}
