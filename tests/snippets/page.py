"""The programs of docs/writers.md: one for each heading that names a language and a client."""

import re
from typing import NamedTuple

from tests.support.commands import ROOT

_PAGE = ROOT / "docs" / "writers.md"
_PROGRAM = re.compile(r"^## (?P<language>\w+): (?P<client>.+?)\n+```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Program(NamedTuple):
    """What stands on the page: whose it is, and its text."""

    language: str
    client: str
    text: str


def programs(language: str) -> list[Program]:
    """Return the programs in `language`, in the order of the page."""
    found = (
        Program(each["language"], each["client"], each["text"])
        for each in _PROGRAM.finditer(_PAGE.read_text(encoding="utf-8"))
    )
    return [program for program in found if program.language == language]
