"""The type of the fixture `report`, for the tests that use it."""

from collections.abc import Callable
from typing import TypeAlias

Report: TypeAlias = Callable[[str], None]
"""Takes a line that pytest's summary ends with, even when the test passes."""
