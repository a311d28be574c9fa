"""Which dead letters RabbitMQ may drop when they are put back."""

from typing import Any

import pytest

from outboxkit.amqp.consuming.putting_back import Version, may_be_dropped, version


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"version": b"3.10.8"}, (3, 10)),
        ({"version": b"4.0.5"}, (4, 0)),
        ({"version": "4.3.0-rc.1"}, (4, 3)),
        ({"version": b"10.2"}, (10, 2)),
        ({"version": b"4"}, None),
        ({"version": b"next"}, None),
        ({"version": b"\xff"}, None),
        ({"version": 4}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_version_is_the_one_that_rabbitmq_names(
    properties: dict[str, Any] | None, expected: Version | None
) -> None:
    assert version(properties) == expected


@pytest.mark.parametrize(
    ("server", "first", "last"),
    [
        ((3, 10), None, None),
        ((3, 13), None, None),
        ((4, 0), 15, 20),  # beyond it is the count of the first queue
        ((4, 2), 15, 20),
        ((4, 3), 15, 99),
        ((5, 0), 15, 99),
        ((10, 0), 15, 99),
        (None, 15, 99),
    ],
)
def test_what_was_put_back_nearly_too_often_may_be_dropped(
    server: Version | None, first: int | None, last: int | None
) -> None:
    dropped = [count for count in range(100) if may_be_dropped(server, {"x-delivery-count": count})]
    assert (dropped[0] if dropped else None, dropped[-1] if dropped else None) == (first, last)
    assert not may_be_dropped(server, {})
    assert not may_be_dropped(server, {"x-acquired-count": 99}), "returns that are no failures do not count"
    assert not may_be_dropped(server, {"x-delivery-count": "99"})
