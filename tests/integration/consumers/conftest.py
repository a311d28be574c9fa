"""The stage of the tests with real consumers."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox import Isolated
from tests.integration.consumers.stage import Stage


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a database, a broker and what runs consumers on them."""
    with ExitStack() as stack:
        yield Stage(isolated, tmp_path, stack)
