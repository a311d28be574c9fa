"""What `relay check` and `relay status` say of the relays that share an outbox."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.core.hashing.partition import Partition
from relay.operating.check.judging.relay.members import Members, members
from relay.operating.members import Member, missing
from tests.support.examples import OWNER

AT = datetime(2026, 11, 28, tzinfo=UTC)
ME = Member("relay", 1, 3, vacant=False, updated_at=AT, active=False)
OTHER = Member("b", 2, 3, vacant=False, updated_at=AT, active=True)
AWAY = OTHER._replace(name="c", partition=3, active=False)
VACANT = Member("partition 3/3 of outbox.event", 3, 3, vacant=True, updated_at=AT, active=False)
PART = replace(OWNER, partition=Partition(1, 3))


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ([], "UNKNOWN", "has no partition yet"),
        ([ME, OTHER, AWAY._replace(active=True)], "OK", "each of 3 partitions of outbox.event has a relay"),
        ([ME, OTHER, AWAY], "WARN", "relay 'c' (3/3) is not active"),
        ([ME, OTHER._replace(active=False), AWAY], "WARN", "relays 'b' (2/3), 'c' (3/3) are not active: events wait"),
        ([ME, OTHER, VACANT], "FAIL", "no relay is set up for partition 3/3 of outbox.event"),
        ([ME, AWAY._replace(partition=2), VACANT], "FAIL", "no relay is set up for partition 3/3"),
    ],
)
def test_a_partition_that_nobody_publishes_is_named(found: Sequence[Member], status: str, said: str) -> None:
    verdict = members(Members(PART, found))
    assert verdict.status == status
    assert said in verdict.summary
    assert verdict.remedy or status == "OK"


def test_a_relay_of_all_events_has_nobody_beside_it() -> None:
    assert members(Members(OWNER, [])).status == "OK"


def test_the_relay_itself_is_not_counted_among_the_missing() -> None:
    assert missing([ME, OTHER], beside="relay") is None
    assert missing([ME, OTHER], beside="b") == "relay 'relay' (1/3) is not active"
    assert missing([ME, OTHER, VACANT], beside="relay") == "no relay is set up for partition 3/3"
