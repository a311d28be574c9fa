"""`python -m consumers`, the same as `consumers`."""

from outboxkit.entry import consumers

consumers()
