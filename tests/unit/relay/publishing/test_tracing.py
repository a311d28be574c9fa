"""Spans of published messages: which messages have one, what it is linked to, when it ends."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from relay.core.event import OutboxEvent
from relay.core.ledger import Ledger
from relay.core.messages.routing import Router
from relay.core.ports import Outcomes, Parcel, Rejection
from relay.publishing.tracing import TracedPublisher

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Broker:
    """A publisher that only keeps what it is given; the test reports the outcomes."""

    def __init__(self) -> None:
        self.outcomes: Outcomes | None = None
        self.taken: list[Parcel] = []
        self.forgotten = False

    def notify(self, outcomes: Outcomes) -> None:
        self.outcomes = outcomes

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        self.taken += parcels

    async def drained(self) -> None: ...

    def in_flight(self) -> int:
        return len(self.taken)

    def forget(self) -> None:
        self.forgotten = True

    async def away(self, seconds: float) -> None: ...

    async def run(self) -> None: ...


class Heard:
    """The outcomes that reach the engine."""

    def __init__(self) -> None:
        self.confirmations: list[Parcel] = []
        self.rejections: list[Rejection] = []

    def confirmed(self, parcels: Sequence[Parcel]) -> None:
        self.confirmations += parcels

    def rejected(self, rejections: Sequence[Rejection]) -> None:
        self.rejections += rejections


class Stage:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.broker, self.heard = Broker(), Heard()
        self.publisher = TracedPublisher(self.broker, provider.get_tracer("test"))
        self.publisher.notify(self.heard)

    def publish(self, *headers: dict[str, object]) -> list[Parcel]:
        parcels = [parcel(str(number), each) for number, each in enumerate(headers)]
        asyncio.run(self.publisher.publish(parcels))
        assert self.broker.taken == parcels
        return parcels

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def stage() -> Stage:
    return Stage()


def parcel(identity: str, headers: dict[str, object]) -> Parcel:
    event = OutboxEvent(
        identity, 1, "order", "42", 7, "paid", b"{}", headers, None, None, datetime(2026, 1, 1, tzinfo=UTC)
    )
    return Parcel(Ledger().enter(), event, Router("outbox", "{aggregate_type}.{event_type}").route(event))


def test_a_span_lasts_from_publishing_to_the_confirm(stage: Stage) -> None:
    parcels = stage.publish({"traceparent": TRACEPARENT})
    assert stage.spans == []
    stage.publisher.confirmed(parcels)
    (span,) = stage.spans
    assert (span.name, span.kind) == ("publish outbox", SpanKind.PRODUCER)
    assert span.attributes is not None
    assert span.attributes["messaging.message.id"] == "0"
    assert span.attributes["messaging.rabbitmq.destination.routing_key"] == "order.paid"
    assert stage.heard.confirmations == parcels


def test_a_span_belongs_to_the_rows_trace_and_is_linked_to_its_span(stage: Stage) -> None:
    stage.publisher.confirmed(stage.publish({"traceparent": TRACEPARENT, "tracestate": "vendor=1"}))
    (span,) = stage.spans
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    (link,) = span.links
    assert f"{link.context.span_id:016x}" == PARENT
    assert link.context.trace_state["vendor"] == "1"


def test_the_headers_of_the_message_are_not_changed(stage: Stage) -> None:
    (published,) = stage.publish({"traceparent": TRACEPARENT})
    assert published.message.headers["traceparent"] == TRACEPARENT


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}, {"traceparent": 5}, {"traceparent": None}])
def test_a_message_that_belongs_to_no_trace_has_no_span(headers: dict[str, object], stage: Stage) -> None:
    parcels = stage.publish(headers)
    stage.publisher.confirmed(parcels)
    assert stage.spans == []
    assert stage.heard.confirmations == parcels


def test_a_message_that_the_application_did_not_sample_has_no_span(stage: Stage) -> None:
    stage.publisher.confirmed(stage.publish({"traceparent": f"00-{TRACE}-{PARENT}-00"}))
    assert stage.spans == []


def test_a_rejected_message_ends_its_span_with_the_reason(stage: Stage) -> None:
    (published,) = stage.publish({"traceparent": TRACEPARENT})
    stage.publisher.rejected([Rejection(published, "returned", "no queue takes it")])
    (span,) = stage.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "returned")
    assert len(stage.heard.rejections) == 1


def test_a_dropped_message_ends_its_span(stage: Stage) -> None:
    stage.publish({"traceparent": TRACEPARENT}, {"traceparent": TRACEPARENT})
    stage.publisher.forget()
    assert [span.status.description for span in stage.spans] == ["dropped", "dropped"]
    assert stage.broker.forgotten


def test_a_relay_without_spans_does_not_load_opentelemetry() -> None:
    loaded = "any(name.startswith('opentelemetry') for name in sys.modules)"
    program = f"import relay.app, relay.operating.cli, sys; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
