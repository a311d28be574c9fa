"""The stage of the tests with real instances of the service."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox import Isolated
from tests.integration.writers.service.stage import Instance, Stage


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a database with its roles, and what runs instances on it."""
    with ExitStack() as stack:
        yield Stage(isolated, tmp_path, stack)


@pytest.fixture
def service(stage: Stage) -> Instance:
    """Return one running instance."""
    return stage.serve()
