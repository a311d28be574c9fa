"""`python -m consumers`, the same as `consumers`."""

from runtime.entry import consumers

consumers()
