"""`python -m bench`, the same as `bench`, which `make` puts beside the Python of .venv."""

from outboxkit.entry import run

run("bench.cli")
