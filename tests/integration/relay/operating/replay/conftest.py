"""What the tests of replays begin with."""

import pytest

from sandbox import Isolated
from tests.integration.relay.operating.replay.replay_stage import History


@pytest.fixture
def history(ready: Isolated) -> History:
    """Return the past of a relay that is set up."""
    return History(ready)
