"""A trace continues through the outbox: the message carries its context and, if enabled, the relay exports a span."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sandbox.machine import ports
from tests.support.refusing import mistake
from tests.support.stage import Stage
from writers import NewEvent, publish

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Collector(ThreadingHTTPServer):
    """Receives what an OTLP exporter sends (https://opentelemetry.io/docs/specs/otlp/#otlphttp)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportTraceServiceRequest] = []
        self._thread = threading.Thread(target=self.serve_forever, name="collector")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Span]:
        found = [scope for request in self.requests for each in request.resource_spans for scope in each.scope_spans]
        return [span for scope in found for span in scope.spans]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def write(stage: Stage, headers: dict[str, object] | None) -> None:
    with psycopg.connect(stage.isolated.database_url) as connection:
        publish(connection, NewEvent("order", "42", 1, "paid", {}, headers or {}))


def test_the_context_arrives_with_the_message_and_a_span_is_linked_to_it(stage: Stage, collector: Collector) -> None:
    tap = stage.set_up()
    write(stage, {"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
    write(stage, None)
    relay = stage.start(
        "relay",
        "run",
        RELAY_TRACES="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
    )
    stage.confirmed()
    assert relay.terminate() == 0, relay.tail()

    headers = tap.take()
    assert (headers["traceparent"], headers["tracestate"]) == (TRACEPARENT, "vendor=1")
    (span,) = collector.spans
    assert span.kind == Span.SPAN_KIND_PRODUCER
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert [link.span_id.hex() for link in span.links] == [PARENT]
    attributes = collector.requests[0].resource_spans[0].resource.attributes
    resource = {attribute.key: attribute.value.string_value for attribute in attributes}
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("relay", "test")


def test_a_collector_that_is_away_delays_nothing(stage: Stage) -> None:
    tap = stage.set_up()
    nobody = f"http://127.0.0.1:{ports.free(1)[0]}"
    relay = stage.start("relay", "run", RELAY_TRACES="true", OTEL_EXPORTER_OTLP_ENDPOINT=nobody)
    write(stage, {"traceparent": TRACEPARENT})
    stage.confirmed()
    relay.process.terminate()
    relay.logged("stopped")  # what comes behind this is the end of the exporter
    assert relay.ended(seconds=8) == 0, relay.tail()
    assert tap.take()["traceparent"] == TRACEPARENT


def test_spans_without_opentelemetry_are_a_mistake_that_names_the_extra(stage: Stage) -> None:
    stage.set_up()
    place = stage.directory / "opentelemetry"
    place.mkdir()
    (place / "__init__.py").touch()  # found before the real package, and empty
    line = mistake(stage, RELAY_TRACES="true", PYTHONPATH=str(stage.directory))
    assert "RELAY_TRACES needs OpenTelemetry" in line
    assert "pip install 'outbox-relay[otel]'" in line
