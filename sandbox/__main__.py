"""`python -m sandbox`, the same as the command `sandbox`, which `make` installs into .venv/bin."""

from outboxkit.process.entry import run

run("sandbox.cli")
