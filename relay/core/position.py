"""Positions in the write-ahead log. Pure.

An LSN is a 64-bit byte position, written as two hexadecimal halves (https://www.postgresql.org/docs/current/datatype-pg-lsn.html).
It is compared as a number: as text, 0/9 would come after 0/10.
"""

import re
from typing import Self

_FORM = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class Lsn(int):
    """A position in the WAL, ordered like the integer that it is; `str` gives Postgres' form, `0/16B3748`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read Postgres' form; raises ValueError for anything else."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no LSN; one looks like 0/16B3748")
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({self})"
