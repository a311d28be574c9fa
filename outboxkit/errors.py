"""Errors that an operator can act on.

Problem                     something is wrong outside the code; carries the remedy      exit code 1
└── ConfigurationProblem    a setting or option is wrong; no server was asked            exit code 2

Packages derive their own errors from these. A command prints a `Problem` as one line, without a traceback. Any other
exception that ends a command is a bug, and keeps its traceback.
"""

from typing import ClassVar


class Problem(Exception):  # noqa: N818 - the word in the documentation
    """Something that an operator can fix: what is wrong, and what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} - {self.remedy}"


class ConfigurationProblem(Problem):
    """A setting or an option is missing or wrong; no server was asked."""

    exit_code = 2
