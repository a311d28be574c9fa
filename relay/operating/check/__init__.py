"""`relay check`: `asking/` gathers facts, and the pure functions of `judging/` judge them, one function for each id.

Facts that could not be gathered are reported as UNKNOWN under their ids, so no check is left out silently.
"""
