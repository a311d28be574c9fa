"""An incident that lasts is logged once, and again when it ends or changes."""

from structlog.testing import capture_logs

from outboxkit.amqp.errors import BrokerUnavailable, ChannelRefused
from outboxkit.errors import Problem
from relay.core.observations import (
    BrokerConnected,
    BrokerLost,
    Confirmed,
    Held,
    Nacked,
    Named,
    NotStored,
    Observation,
    Stored,
)
from relay.watching.logbook import Logbook

CONNECTED = BrokerConnected("localhost:5672/", again=1)
AWAY = BrokerLost(BrokerUnavailable("it is not reachable", remedy="start it"))
FIRST, SECOND = Named("1", "missing", "a.b"), Named("2", "missing", "a.b")


def held(message: Named) -> Held:
    return Held(message, ChannelRefused("404", remedy="create it"))


def logged(*seen: Observation) -> list[str]:
    """Return the events that a logbook logs for these observations."""
    logbook = Logbook()
    with capture_logs() as lines:
        for each in seen:
            logbook(each)
    return [line["event"] for line in lines]


def test_a_broker_that_stays_away_is_logged_once_and_so_is_its_return() -> None:
    assert logged(CONNECTED, AWAY, AWAY, AWAY, CONNECTED) == ["publishing", "broker not available", "publishing"]


def test_a_connection_that_is_lost_again_and_again_is_logged_each_time() -> None:
    assert logged(CONNECTED, AWAY, CONNECTED, AWAY).count("broker not available") == 2


def test_a_message_that_closes_the_channel_at_each_attempt_is_logged_once() -> None:
    assert logged(CONNECTED, *(held(FIRST), CONNECTED) * 5) == ["publishing", "message refused"]


def test_a_message_that_is_accepted_in_the_end_is_logged_once() -> None:
    assert logged(held(FIRST), CONNECTED, Confirmed(1), Confirmed(1)) == ["message refused", "message accepted"]


def test_another_message_that_closes_the_channel_is_logged_too() -> None:
    assert logged(held(FIRST), CONNECTED, Confirmed(1), held(SECOND), CONNECTED).count("message refused") == 2


def test_a_broker_that_goes_away_while_a_message_is_tried_again_is_logged_and_so_is_its_return() -> None:
    assert logged(held(FIRST), AWAY, CONNECTED, held(FIRST), CONNECTED) == [
        "message refused", "broker not available", "publishing", "message refused",
    ]  # fmt: skip


def test_a_nacked_message_is_logged_again_after_a_confirm() -> None:
    nacked = Nacked(1, FIRST)
    assert logged(nacked, nacked, Confirmed(1), nacked) == ["message nacked", "message nacked"]


def test_what_cannot_be_stored_is_logged_once_in_each_outage() -> None:
    full = NotStored("parked events", Problem("the disk is full", remedy="free space"))
    stored = Stored("parked events")
    assert logged(stored, full, full, stored, stored, full) == ["not stored", "stored again", "not stored"]
