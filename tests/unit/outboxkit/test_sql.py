"""The SQL files: each statement is used, and each is found where the loader looks."""

import re
from pathlib import Path

from outboxkit import sql
from tests.support.commands import ROOT

SQL = ROOT / "sql"
PACKAGES = ("relay", "consumers", "writers", "outboxkit", "sandbox", "bench", "tests")


def _strings() -> set[str]:
    """Return every quoted word of the packages' code."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if file != Path(__file__)]
    return {word for file in files for word in re.findall(r'"(\w+)"', file.read_text(encoding="utf-8"))}


def test_every_statement_and_every_example_is_used() -> None:
    names = {file.stem for room in ("queries", "examples") for file in (SQL / room).glob("*.sql")}

    assert names - _strings() == set()


def test_every_statement_says_first_what_it_does() -> None:
    for file in (SQL / "queries").glob("*.sql"):
        assert sql.query(file.stem).startswith("-- "), file.name
