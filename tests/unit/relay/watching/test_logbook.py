"""An incident that lasts is logged once, and again when it ends or changes; what is many is counted."""

from collections.abc import Iterable, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from outboxkit.amqp.errors import BrokerUnavailable, ChannelRefused
from outboxkit.errors import Problem
from relay.core.observations import (
    Audited,
    BrokerConnected,
    BrokerLost,
    Confirmed,
    Difference,
    HandedOver,
    Held,
    Nacked,
    Named,
    NotDrained,
    NotHandedOver,
    NotStored,
    Observation,
    Parked,
    Returned,
    ShadowCompares,
    ShadowDiffers,
    ShadowPauses,
    Stopped,
    Stored,
)
from relay.core.position import Lsn
from relay.watching.differences import DIFFERENCES, LINES
from relay.watching.incidents import QUIET_AFTER, TELL_EVERY
from relay.watching.logbook import Logbook, Remedies

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


def test_what_keeps_the_other_source_from_going_on_is_logged_once_until_it_does() -> None:
    refused = NotHandedOver("wal", Problem("the slot is being made", remedy="wait"))
    back = HandedOver("polling", "wal", "works again", "over a new slot", Lsn(8), 0)
    assert logged(refused, refused, back, refused) == ["not handed over", "handed over", "not handed over"]


@pytest.mark.parametrize(
    ("change", "level"),
    [
        (HandedOver("wal", "polling", "slot missing", "it does not exist", Lsn(8), None), "warning"),
        (HandedOver("wal", "polling", "budget", "in order", Lsn(8), 0), "warning"),
        (HandedOver("wal", "polling", "asked for", "in order", Lsn(8), 0), "info"),
        (HandedOver("polling", "wal", "works again", "over a new slot", Lsn(8), 0), "info"),
    ],
)
def test_a_hand_over_is_a_warning_when_something_went_wrong(change: HandedOver, level: str) -> None:
    (line,) = told((0, change))
    assert (line["log_level"], line["from"], line["to"]) == (level, change.source, change.to)


def test_what_cannot_be_stored_is_logged_once_in_each_outage() -> None:
    full = NotStored("parked events", Problem("the disk is full", remedy="free space"))
    stored = Stored("parked events")
    assert logged(stored, full, full, stored, stored, full) == ["not stored", "stored again", "not stored"]


def test_an_outage_of_one_thing_is_not_over_when_another_is_stored() -> None:
    full = NotStored("parked events", Problem("the disk is full", remedy="free space"))
    assert logged(full, Stored("checkpoint"), full) == ["not stored"]


def told(*seen: tuple[float, Observation]) -> list[MutableMapping[str, Any]]:
    """Return the lines of a logbook that is given these observations at these times."""
    now = 0.0
    logbook = Logbook(lambda: now)
    with capture_logs() as lines:
        for at, each in seen:
            now = at
            logbook(each)
    return lines


def counts(lines: Iterable[MutableMapping[str, Any]], event: str) -> list[int]:
    return [line["count"] for line in lines if line["event"] == event]


RETURNED, NACKED, PARKED = (
    Returned(2, FIRST, "NO_ROUTE", "park"),
    Nacked(1, FIRST),
    Parked(["1", "2"], ["returned"] * 2),
)
FULL = NotStored("parked events", Problem("the disk is full", remedy="free space"))
GOOD: Observation = Confirmed(1)
EVENTS: dict[str, tuple[Observation, int]] = {
    "message returned": (RETURNED, 2),
    "message nacked": (NACKED, 1),
    "events parked": (PARKED, 2),
    "not stored": (FULL, 1),
}


def test_good_and_bad_in_turn_are_one_line_at_the_beginning_and_one_at_the_end_with_the_count() -> None:
    for event, (bad, of_each) in EVENTS.items():
        turns = [(number / 10, each) for number in range(200) for each in (bad, GOOD)]
        assert counts(told(*turns, (20 + QUIET_AFTER, GOOD)), event) == [of_each, 199 * of_each]


def test_an_incident_that_lasts_is_told_once_a_minute_with_what_has_come_since() -> None:
    lines = told(*((float(second), RETURNED) for second in range(int(2 * TELL_EVERY) + 1)))
    assert counts(lines, "message returned") == [2, 2 * (int(TELL_EVERY) - 1), 2 * int(TELL_EVERY)]
    assert "message_id" in lines[0]
    assert {(line["reason"], line["policy"]) for line in lines} == {("NO_ROUTE", "park")}
    assert all("bind a queue to this routing key" in line["remedy"] for line in lines)


def test_an_incident_begins_anew_when_none_of_its_kind_has_come_for_half_a_minute() -> None:
    lines = told((0, NACKED), (1, NACKED), (2 + QUIET_AFTER, NACKED), (3 + QUIET_AFTER, NACKED))
    assert counts(lines, "message nacked") == [1, 1, 1]


def test_events_parked_for_another_reason_are_another_incident() -> None:
    lines = told((0, PARKED), (1, Parked(["3"], ["too_large"])), (2, PARKED))
    assert [(line["reasons"], line["first"]) for line in lines] == [(("returned",), "1"), (("too_large",), "3")]


def test_a_relay_that_stops_tells_what_it_has_counted() -> None:
    assert counts(told((0, RETURNED), (1, RETURNED), (2, Stopped(0, None))), "message returned") == [2, 2]


def difference(kind: str, number: int) -> Difference:
    return Difference(kind, f"id{number}", number, 100 + number, "order", "1")


def test_each_difference_of_a_shadow_is_a_line_that_says_what_to_do() -> None:
    with capture_logs() as lines:
        Logbook()(ShadowDiffers([difference(kind, number) for number, kind in enumerate(DIFFERENCES)]))
    assert [(line["event"], line["kind"], line["message_id"]) for line in lines] == [
        ("shadow differs", kind, f"id{number}") for number, kind in enumerate(DIFFERENCES)
    ]
    assert all(line["reason"] and line["remedy"] for line in lines)
    (passed_over,) = (line for line in lines if line["kind"] == "missing_live")
    assert "`relay audit` names it" in passed_over["remedy"]


def test_more_differences_within_a_minute_are_counted_and_no_lines() -> None:
    now = 0.0
    logbook = Logbook(lambda: now)
    with capture_logs() as lines:
        for number in range(LINES + 100):
            logbook(ShadowDiffers([difference("order", number)]))
        assert len(lines) == LINES + 1
        now = 60.0
        logbook(Confirmed(1))
        assert lines[-1]["count"] == 99
        logbook(ShadowDiffers([difference("order", 7)]))
        assert lines[-1]["message_id"] == "id7"


def test_a_shadow_that_pauses_again_for_the_same_reason_is_logged_once() -> None:
    paused, compares = ShadowPauses("polling", "handover"), ShadowCompares("polling", 7)
    assert logged(compares, paused, paused, compares, paused) == [
        "shadow compares", "shadow pauses", "shadow compares", "shadow pauses",
    ]  # fmt: skip


def test_missing_events_are_said_once_again_when_there_are_more_and_when_there_is_none_any_more() -> None:
    clean, one, two = Audited(5, 0, None), Audited(5, 1, 17), Audited(0, 2, 17)
    assert logged(clean, one, one, two, one, clean, clean) == ["events missing", "events missing", "no event missing"]


def test_what_holds_a_replay_is_not_to_be_skipped_in_the_live_stream() -> None:
    logbook = Logbook(remedies=Remedies("begin a new replay behind it", "resume it", "resume it from there"))
    with capture_logs() as lines:
        logbook(Nacked(1, FIRST))
        logbook(held(FIRST))
        logbook(NotDrained(2))
        logbook(NotDrained(0))
    remedies = [line["remedy"] for line in lines]
    assert ["begin a new replay behind it" in remedy for remedy in remedies] == [True, True, False, False]
    assert remedies[-2:] == ["resume it", "resume it from there"]
    assert not any("slot skip" in remedy for remedy in remedies)
