"""What a run of the tests in one release came to, read from pytest's JUnit XML and dpkg's list. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.etree import ElementTree as ET

SUITES = ("contract", "integration", "acceptance")
READERS = ("wal2json", "pgoutput", "polling")
_FAILED = {"failure", "error"}
_ID = re.compile(r"\[(.*)\]")
_PACKAGES = {
    "PostgreSQL": r"postgresql-\d+",
    "wal2json": r"postgresql-\d+-wal2json",
    "RabbitMQ": r"rabbitmq-server",
    "Python": r"python3",
}
# Without the epoch before it, and without the revision of the package behind it.
_UPSTREAM = r"(?:\d+:)?(\d+(?:\.\d+)*)"


class Case(NamedTuple):
    """One test."""

    suite: str
    """The folder below tests/."""
    name: str
    readers: frozenset[str]
    """The ways of reading that are in its parameters."""
    passed: bool


class Count(NamedTuple):
    """How many of some tests have passed."""

    passed: int
    of: int

    def __str__(self) -> str:
        if self.of == 0:
            return "-"
        return str(self.of) if self.passed == self.of else f"{self.passed} of {self.of}"


def cases(junit: str) -> list[Case]:
    """Return the tests that ran; one that failed while it was torn down has failed.

    https://docs.pytest.org/en/stable/how-to/output.html#creating-junitxml-format-files
    """
    found: dict[tuple[str, str], bool] = {}
    for element in ET.fromstring(junit).iter("testcase"):  # noqa: S314 - written by our own tests' run
        key, outcomes = (element.get("classname", ""), element.get("name", "")), {child.tag for child in element}
        if "skipped" in outcomes:
            continue
        failed = bool(outcomes & _FAILED)
        found[key] = found.get(key, True) and not failed
    return [_case(folder, name, passed) for (folder, name), passed in found.items()]


def counted(found: Iterable[Case]) -> dict[str, Count]:
    """Return how many tests of each suite passed, and of each way of reading, in the order of the table."""
    found = list(found)
    by_suite = {suite: _count(case for case in found if case.suite == suite) for suite in SUITES}
    by_reader = {reader: _count(case for case in found if reader in case.readers) for reader in READERS}
    return {**by_suite, **by_reader}


def versions(packages: str) -> dict[str, str]:
    """Return the versions of what matters, from lines of dpkg-query: a package's name, and its version."""
    return {what: _version(packages, package) for what, package in _PACKAGES.items()}


def _case(folder: str, name: str, passed: bool) -> Case:  # noqa: FBT001 - a field
    parameters = _ID.search(name)
    values = set(parameters[1].split("-")) if parameters else set()
    # A file that could not be collected has no class; its name is the path.
    parts = (folder or name).split(".")
    suite = parts[1] if len(parts) > 1 else ""
    return Case(suite, f"{folder}::{name}" if folder else name, frozenset(values & {*READERS}), passed)


def _count(found: Iterator[Case]) -> Count:
    passed = [case.passed for case in found]
    return Count(sum(passed), len(passed))


def _version(packages: str, package: str) -> str:
    found = re.search(rf"^{package} {_UPSTREAM}", packages, re.MULTILINE)
    return found[1] if found else "-"
