"""`python -m bench`, the same as the command `bench`, which `make` installs into .venv/bin."""

from outboxkit.process.entry import run

run("bench.cli")
