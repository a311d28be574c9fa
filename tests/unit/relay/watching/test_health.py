"""When a relay is ready."""

import asyncio
import time
from typing import Any

from outboxkit.amqp.errors import BrokerUnavailable
from relay.core.errors import SlotHeld, SourceUnavailable
from relay.core.observations import BrokerConnected, BrokerLost, CaughtUp, SourceLost, Standby, Streaming
from relay.core.position import Lsn, PollPosition, Snapshot
from relay.watching.health import Loop, readiness
from relay.watching.metrics import Metrics

STREAMING = Streaming("wal", Lsn(0), {})
POLLING = Streaming("polling", PollPosition(Snapshot(3, 3)), {})
CONNECTED = BrokerConnected("localhost:5672/", again=0)


def after(*seen: Any) -> dict[str, bool]:  # noqa: ANN401 - observations
    metrics = Metrics()
    for each in seen:
        metrics(each)
    return dict(readiness(metrics, ready_lag=60))


def test_a_relay_that_streams_and_publishes_without_lag_is_ready() -> None:
    assert after(STREAMING, CONNECTED, CaughtUp(time.monotonic())) == {"source": True, "broker": True, "lag": True}


def test_a_relay_that_polls_is_as_ready_as_one_that_streams() -> None:
    assert after(POLLING, CONNECTED, CaughtUp(time.monotonic())) == {"source": True, "broker": True, "lag": True}


def test_a_relay_that_starts_is_not_ready() -> None:
    assert after() == {"source": False, "broker": False, "lag": True}


def test_a_relay_that_lost_a_side_names_it() -> None:
    lost = SourceLost(SourceUnavailable("gone", remedy="wait"))
    assert after(STREAMING, CONNECTED, lost)["source"] is False
    assert after(STREAMING, CONNECTED, BrokerLost(BrokerUnavailable("gone", remedy="wait")))["broker"] is False


def test_a_standby_is_ready() -> None:
    assert after(CONNECTED, Standby(SlotHeld("held", remedy="wait"))) == {"standby": True}


def test_a_relay_behind_by_more_than_the_limit_is_not_ready() -> None:
    metrics = Metrics()
    assert readiness(metrics, ready_lag=0)["lag"] is False


def test_a_loop_that_runs_is_alive() -> None:
    async def scenario() -> None:
        assert Loop().alive() == {"loop": True}

    asyncio.run(scenario())
