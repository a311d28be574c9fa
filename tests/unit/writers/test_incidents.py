"""The log tells of an incident once, and of its end when nothing has failed for a while."""

from writers.service.postgres.incidents import QUIET_SECONDS, Incident


def test_the_same_reason_is_told_once_and_another_one_too() -> None:
    incident = Incident()
    assert not incident.lasts
    told = [incident.failed(reason, now) for now, reason in enumerate(["a", "a", "b", "b", "a"])]
    assert told == [True, False, True, False, True]
    assert incident.lasts


def test_a_success_between_failures_ends_nothing() -> None:
    incident = Incident()
    incident.failed("a disk is full", 0.0)
    assert not incident.succeeded(QUIET_SECONDS - 0.1)
    assert not incident.failed("a disk is full", QUIET_SECONDS)
    assert not incident.succeeded(QUIET_SECONDS + 0.1)
    assert incident.lasts


def test_it_ends_once_and_the_next_failure_is_told_again() -> None:
    incident = Incident()
    assert not incident.succeeded(0.0)
    incident.failed("a", 0.0)
    assert [incident.succeeded(now) for now in (QUIET_SECONDS, QUIET_SECONDS + 1)] == [True, False]
    assert not incident.lasts
    assert incident.failed("a", QUIET_SECONDS + 2)
