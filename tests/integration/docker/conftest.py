"""A database for all tests of a module."""

from collections.abc import Iterator

import pytest

from sandbox import Isolated, Sandbox


@pytest.fixture(scope="module")
def module_isolated(sandbox: Sandbox) -> Iterator[Isolated]:
    """Return a database with the schema, and a name for slot, exchange and queues, for one module alone."""
    with sandbox.isolated() as part:
        yield part
