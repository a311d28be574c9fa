"""Takes a schema file apart into its statements, and tells which of our schemas each is about. Pure."""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from outboxkit.sql import SchemaFile

# What may hold a semicolon that ends no statement. A body in standard SQL ends with END at the begin of a line.
_OPAQUE = re.compile(
    r"""--[^\n]* | '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(\w*)\$.*?\$\1\$ | BEGIN\ ATOMIC.*?\nEND\b | ;""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"--[^\n]*")
_CREATED = re.compile(r"CREATE SCHEMA (?:IF NOT EXISTS )?(\w+)", re.IGNORECASE)
_NAME = re.compile(r"CREATE SCHEMA (?:IF NOT EXISTS )?(\w+)|\b(\w+)\.\w", re.IGNORECASE)


class Statement(NamedTuple):
    """One statement, and the schemas of ours that it names, in this order: it is about the first."""

    text: str
    schemas: tuple[str, ...]

    @property
    def verb(self) -> str:
        """Its first word, in capitals."""
        return _COMMENT.sub("", self.text).split(maxsplit=1)[0].upper()


def created(files: Iterable[SchemaFile]) -> list[str]:
    """Return the schemas that `files` create, in this order."""
    return [name for file in files for name in _CREATED.findall(_COMMENT.sub("", file.text))]


def statements(files: Collection[SchemaFile]) -> list[Statement]:
    """Return the statements of `files`, in order."""
    ours = created(files)
    return [Statement(text, _named(text, ours)) for file in files for text in _split(file.text)]


def _named(text: str, ours: Collection[str]) -> tuple[str, ...]:
    found = (first or second for first, second in _NAME.findall(_COMMENT.sub("", text)))
    return tuple(dict.fromkeys(name for name in found if name in ours))


def _split(text: str) -> list[str]:
    ends = [match.start() for match in _OPAQUE.finditer(text) if match.group() == ";"]
    parts = [text[start + 1 : end].strip() for start, end in zip([-1, *ends], [*ends, len(text)], strict=True)]
    return [part for part in parts if _COMMENT.sub("", part).strip()]
