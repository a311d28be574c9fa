"""What a report consists of. Pure; page.py and markdown.py write it in their form."""

from dataclasses import dataclass

from bench.compare.findings.plates import Plate

TITLE = "The WAL and polling, compared"


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a section (level 2) or of a part of one (level 3)."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column is text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: bool = False
    """Whether the other columns are text, too, and not figures."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One plot."""

    plate: Plate


Block = Heading | Paragraph | Bullets | Table | Picture
