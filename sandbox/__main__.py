"""`python -m sandbox`, the same as `sandbox`, which `make` puts beside the Python of .venv."""

from outboxkit.entry import run

run("sandbox.cli")
