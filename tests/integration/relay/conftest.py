"""What several of the relay's integration tests begin with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.operating.setup.steps import setup
from sandbox import Isolated
from tests.integration.relay.stage import settings, staged, streams
from tests.support.stage import Stage


@pytest.fixture
def ready(isolated: Isolated) -> Isolated:
    """Return what a relay that is set up has."""
    assert list(setup(settings(isolated), accept_gap=False))
    return isolated


@pytest.fixture
def streaming(ready: Isolated) -> Isolated:
    """Return what a relay has that has come to stream: after setup, it polls until its slot has what comes next."""
    streams(ready)
    return ready


@pytest.fixture
def stage(ready: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage for processes."""
    with staged(ready, tmp_path) as stage:
        yield stage
