"""By what id a consumer of a comparison knows a message."""

from collections.abc import Mapping

import pytest

from bench.compare.load.consuming import named
from outboxkit.amqp.consuming.deliveries import Delivery


@pytest.mark.parametrize(
    ("message_id", "headers", "found"),
    [
        ("a", {}, ("a", "")),
        ("a", None, ("a", "")),
        ("a", {"id": "a"}, ("a", "")),
        ("m 1", {"id": "a"}, ("a", " m_1")),
        (None, {"id": "a"}, ("a", " -")),
        (None, {}, ("-", "")),
    ],
)
def test_the_header_id_wins_over_the_message_id(
    message_id: str | None, headers: Mapping[str, object] | None, found: tuple[str, str]
) -> None:
    delivery = Delivery(1, message_id, headers, b"", redelivered=False, routing_key="", generation=1)
    assert named(delivery) == found
