"""What an audit calls clean, and what not."""

from datetime import UTC, datetime

import pytest

from relay.core.position import Snapshot
from relay.operating.audit.findings import Applied, Changed, Extra, Findings, Judged, Retired
from relay.operating.audit.showing import document, lines
from relay.storage.audit.buckets import Bucket, Edge
from relay.storage.audit.outcome import Outcome, count, union

AT = datetime(2026, 11, 27, 14, tzinfo=UTC)
BUCKET = Bucket(Edge(AT, Snapshot(3, 3)), Edge(AT, Snapshot(9, 9)))


def found(outcome: Outcome, *applied: Applied, **more: object) -> Findings:
    return Findings([Judged(BUCKET, outcome, [*applied])], **more)  # type: ignore[arg-type] # each test gives its own


CLEAN = Outcome(3, 2, 1, 0, 0, 0, "{}")
PENDING = Outcome(3, 0, 0, 2, 1, 0, "{}")


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        (found(CLEAN), "clean"),
        (found(CLEAN, Applied(2, 0, "{}")), "clean"),
        (found(PENDING), "nothing to compare"),
        (Findings([]), "nothing to compare"),
        (found(Outcome(3, 2, 0, 0, 0, 1, "{[5,6)}")), "missing"),
        (found(CLEAN, Applied(2, 1, "{[5,6)}")), "not applied"),
        (found(CLEAN, extra=[Extra(5, None, AT)]), "extra"),
        (found(CLEAN, changed=[Changed(5, None, "a")]), "changed"),
        (found(PENDING, retired=[Retired("p", 4, AT, True, "{}")]), "clean"),
        (found(PENDING, retired=[Retired("p", 4, AT, False, None)]), "nothing to compare"),
        (found(CLEAN, retired=[Retired("p", 4, AT, False, "{[1,5)}")]), "clean"),
        (found(CLEAN, retired=[Retired("p", 4, AT, True, "{[1,3)}")]), "missing"),
        (found(Outcome(3, 2, 0, 0, 0, 1, "{[5,6)}"), Applied(2, 1, "{}")), "missing, not applied"),
    ],
)
def test_the_verdict_names_what_is_wrong_and_an_empty_comparison_is_not_clean(findings: Findings, verdict: str) -> None:
    assert findings.verdict == verdict
    assert document(findings)["verdict"] == verdict


def test_events_that_are_gone_are_named_by_their_numbers() -> None:
    findings = found(CLEAN, extra=[Extra(5, None, AT)], retired=[Retired("event_20261101", 4, AT, True, "{[1,3)}")])
    text = "\n".join(lines(findings, 100))
    assert "numbers {[1,3)} of event_20261101" in text
    assert "extra: number 5: confirmed at 2026-11-27 14:00:00 UTC" in text
    assert document(findings)["totals"]["missing"] == 2


def test_sets_of_numbers_are_counted_and_put_together() -> None:
    assert count("{[1,3),[7,8)}") == 3
    assert count("{}") == 0
    assert union(["{}", "{[1,3)}", "{[7,8),[9,12)}"]) == "{[1,3),[7,8),[9,12)}"
    assert union(["{}"]) == "{}"
