"""`relay check`: facts are gathered by `asking/`, and judged by the pure functions of `judging/`, one for each id.

What could not be asked is reported as UNKNOWN under its id, so that no check is ever silently left out.
"""
