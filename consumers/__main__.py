"""`python -m consumers`, the same as `consumers`."""

from consumers.cli import main

main()
