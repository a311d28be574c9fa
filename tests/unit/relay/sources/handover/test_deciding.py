"""What a relay is bound to: a setting is a limit, a request is a wish."""

import pytest

from outboxkit.errors import Problem
from relay.sources.handover.deciding import Wanted, bound

UNPOLLABLE = Problem("the table has no column tx", remedy="add it")


@pytest.mark.parametrize(
    ("source", "asked", "unpollable", "expected"),
    [
        ("auto", "auto", None, "auto"),
        ("auto", "wal", None, "auto"),
        ("auto", "polling", None, "polling"),
        ("auto", "polling", UNPOLLABLE, "auto"),
        ("wal", "wal", None, "wal"),
        ("polling", "polling", None, "polling"),
        ("polling", "polling", UNPOLLABLE, "polling"),
    ],
)
def test_only_a_setting_keeps_a_relay_from_what_it_can_read(
    source: Wanted, asked: Wanted, unpollable: Problem | None, expected: Wanted
) -> None:
    assert bound(source, asked, unpollable) == expected
