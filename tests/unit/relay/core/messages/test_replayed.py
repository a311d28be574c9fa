"""The messages of a replay, beside those of the live stream."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace as changed

from relay.core.event import Defective, Headers, Message, OutboxEvent
from relay.core.messages.cloudevents import Prefix
from relay.core.messages.replayed import ReplayRouter
from relay.core.messages.routing import Router
from relay.core.replay import Destination, Selection
from relay.publishing.encoding import FRAME_MAX, Encoder

OWN = Headers('{"a": 1}', {"a": 1})
EVENT = OutboxEvent("e-1", 7, "order", "42", 3, "paid", b"{}", OWN, None, None, datetime(2026, 1, 1, tzinfo=UTC))
AS_BEFORE = Destination()
LIVE = Router("outbox", "{aggregate_type}.{event_type}")


def routed(destination: Destination = AS_BEFORE, router: Router = LIVE, event: OutboxEvent = EVENT) -> Message:
    return ReplayRouter(router, 12, destination).route(event)


def test_a_message_differs_from_the_live_one_in_one_header() -> None:
    assert routed() == changed(LIVE.route(EVENT), headers={"a": 1, "x-replay": "12"})
    assert routed().route is LIVE.route(EVENT).route


def test_a_row_cannot_choose_the_job() -> None:
    event = changed(EVENT, headers=Headers('{"x-replay": "1"}', {"x-replay": "1"}))
    assert routed(event=event).headers == {"x-replay": "12"}


@pytest.mark.parametrize(("prefix", "name"), [("cloudEvents_", "x-replay"), ("ce-", "xreplay")])
def test_a_cloudevent_has_the_job_beside_its_attributes(prefix: Prefix, name: str) -> None:
    router = Router("outbox", "{event_type}", cloudevents_source="/outbox/relay", cloudevents_prefix=prefix)
    assert routed(router=router).headers == {**router.route(EVENT).headers, name: "12"}


def test_headers_that_cannot_be_read_keep_their_reason() -> None:
    event = changed(EVENT, headers=Defective("{", "its headers cannot be read"))
    assert routed(event=event) == LIVE.route(event)


def test_an_exchange_takes_precedence_over_the_rows_own() -> None:
    event = changed(EVENT, exchange="own", routing_key="key")
    sent = routed(Destination(exchange="other"), event=event).route
    assert (sent.exchange, sent.routing_key) == ("other", "key")


def test_a_queue_gets_the_message_directly_with_the_key_that_it_would_have_had() -> None:
    message = routed(Destination(queue="jobs"))
    assert (message.route.exchange, message.route.routing_key) == ("", "jobs")
    assert message.headers == {"a": 1, "x-replay": "12", "x-routing-key": "order.paid"}


def test_messages_of_one_kind_share_a_route_also_elsewhere() -> None:
    router = ReplayRouter(LIVE, 12, Destination(queue="jobs"))
    other = changed(EVENT, id="e-2")
    assert router.route(EVENT).route is router.route(other).route


def test_every_message_of_a_replay_can_be_encoded() -> None:
    encoder = Encoder(app_id="relay", channel=1, frame_max=FRAME_MAX, max_bytes=1 << 20)
    assert b"\x08x-replayS\x00\x00\x00\x0212" in encoder.encode(routed())


def test_a_selection_meets_every_condition_that_it_has() -> None:
    assert Selection().takes(EVENT)
    every = Selection("order", "42", "p*")
    assert every.takes(EVENT)
    for of, value in (("aggregate_type", "x"), ("aggregate_id", "4"), ("event_type", "p?")):
        assert not replace(every, **{of: value}).takes(EVENT)


@pytest.mark.parametrize(
    ("pattern", "kind", "takes"),
    [("p*", "paid", True), ("pa?d", "paid", True), ("pa.d", "paid", False), ("*", "", True), ("p%", "paid", False),
     ("[p]aid", "paid", False), ("p*", "p\nx", True), ("paid", "Paid", False)],
)  # fmt: skip
def test_a_pattern_knows_two_signs_and_takes_all_others_as_they_are(pattern: str, kind: str, *, takes: bool) -> None:
    assert Selection(event_type=pattern).takes(changed(EVENT, event_type=kind)) is takes
