"""What each policy decides about messages that no queue takes."""

from relay.publishing import returns
from tests.unit.relay.publishing.items import item

RETURNED = [(item(0), "NO_ROUTE"), (item(1), "NO_ROUTE")]
DETAIL = "no queue takes routing key 'a.b' on exchange 'outbox' (NO_ROUTE)"


def test_parking_rejects_every_message_with_the_reason() -> None:
    decision = returns.decide("park", RETURNED)
    assert isinstance(decision, returns.Park)
    assert [(each.parcel, each.reason, each.detail) for each in decision.rejections] == [
        (message.parcel, "returned", DETAIL) for message, _ in RETURNED
    ]


def test_retrying_rejects_none() -> None:
    assert returns.decide("retry", RETURNED) == returns.Retry()


def test_halting_names_the_first_message_and_what_to_do() -> None:
    decision = returns.decide("halt", RETURNED)
    assert isinstance(decision, returns.Halt)
    assert decision.problem.what == f"event {RETURNED[0][0].parcel.event.id}: {DETAIL}"
    assert "RELAY_ON_RETURN" in decision.problem.remedy
