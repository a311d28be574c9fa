"""The checks of `relay check`: facts are gathered by two modules, and judged by small pure functions, one for each id.

`finding.py` says what a verdict is; `asking_postgres.py` and `asking_rabbitmq.py` ask; every other module judges and
asks nobody. What could not be asked is reported as UNKNOWN under its id, so that no check is ever silently left out.
"""
