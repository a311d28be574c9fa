"""Fixtures of the acceptance tests: a stage for each, its seed, and a way to report numbers."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from sandbox import Isolated
from tests.support.stage import Stage

Report = Callable[[str], None]


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage; every command that it started is ended, and its log shown if the test failed."""
    stage = Stage(isolated, tmp_path)
    try:
        yield stage
    finally:
        stage.end()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of this run; pytest prints it at the start, and `--randomly-seed=...` repeats it."""
    return int(request.config.getoption("randomly_seed"))


@pytest.fixture
def draw(seed: int) -> random.Random:
    """Return what draws the moments of a test's faults."""
    return random.Random(seed)  # noqa: S311 - for repeatable faults, not for secrets


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Return what tells a number that is worth knowing even when the test passes; pytest's summary ends with it."""
    return partial(record_property, "worth knowing")
