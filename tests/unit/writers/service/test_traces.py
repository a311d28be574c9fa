"""The trace context of a request, as an event gets it."""

import pytest
from starlette.requests import Request

from writers.service.requests import trace_headers

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def request(*headers: tuple[str, str]) -> Request:
    return Request({"type": "http", "headers": [(name.encode(), text.encode("latin-1")) for name, text in headers]})


def test_parent_and_state_are_taken() -> None:
    found = trace_headers(request(("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")))
    assert found == {"traceparent": PARENT, "tracestate": "a=1,b=2"}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        f"{PARENT}-more",
        f"ff{PARENT[2:]}",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_a_parent_that_is_none_is_left_out_with_its_state(parent: str) -> None:
    assert trace_headers(request(("traceparent", parent), ("tracestate", "a=1"))) == {}


@pytest.mark.parametrize("state", ["", "ä=1", "a" * 513])
def test_a_state_that_is_none_is_left_out(state: str) -> None:
    assert trace_headers(request(("traceparent", PARENT), ("tracestate", state))) == {"traceparent": PARENT}


def test_without_a_parent_there_is_no_trace() -> None:
    assert trace_headers(request(("tracestate", "a=1"))) == {}
