"""Fixtures of the acceptance tests: a stage for each, and a way to report numbers."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from sandbox import Isolated
from tests.acceptance.report import Report
from tests.support.stage import Stage


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    """Yield a stage; every command that it started is ended, and its log shown if the test failed."""
    stage = Stage(isolated, tmp_path)
    try:
        yield stage
    finally:
        stage.end()


@pytest.fixture
def draw(seed: int) -> random.Random:
    """Return what draws the moments of a test's faults."""
    return random.Random(seed)  # noqa: S311 - for repeatable faults, not for secrets


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Return a function that adds a line to pytest's summary."""
    return partial(record_property, "report")
