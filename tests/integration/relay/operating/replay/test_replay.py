"""`relay replay` from the table, on real servers: which events it publishes, and how."""

from collections.abc import Iterator

import pytest

from sandbox import Isolated
from tests.integration.relay.operating.replay.replay_stage import History, write


@pytest.fixture
def history(ready: Isolated) -> Iterator[History]:
    """Return the past of a relay that is set up and does not run."""
    return History(ready)


def test_a_range_between_two_positions_is_published_in_order_under_the_same_ids(history: History) -> None:
    history.publish("before")
    first = history.note()
    wanted = history.publish("a", "b") + history.publish("c")
    last = history.note()
    history.publish("after")
    said = history.replay("--from-lsn", first, "--to-lsn", last)
    assert said.code == 0, said.output
    assert history.ids() == wanted
