"""Where a source stands. Pure.

A position is opaque to the engine and the ledger: they keep it, compare nothing, and hand it back to the source that
gave it. Two kinds have a form of their own in `relay.checkpoint`; the third is the number of a batch.

An LSN is a 64-bit byte position in the WAL, written as two hexadecimal halves
(https://www.postgresql.org/docs/current/datatype-pg-lsn.html). It is compared as a number: as text, 0/9 would come
after 0/10. A snapshot names exactly the transactions that it sees
(https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT).
"""

import re
from dataclasses import dataclass
from typing import Self, TypeVar

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SNAPSHOT = re.compile(r"([0-9]+):([0-9]+):((?:[0-9]+(?:,[0-9]+)*)?)")


class Position:
    """Where a source stands; `str` gives the form that Postgres reads and people see."""

    __slots__ = ()


P = TypeVar("P", bound=Position)


class Lsn(int, Position):
    """A position in the WAL, ordered like the integer that it is; `str` gives Postgres' form, `0/16B3748`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read Postgres' form; raises ValueError for anything else."""
        match = _LSN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not an LSN; an LSN looks like 0/16B3748")
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({self})"


@dataclass(frozen=True, slots=True)
class Snapshot(Position):
    """Sees every transaction below `xmin`, and those below `xmax` that were not `running`; 64-bit transaction ids."""

    xmin: int
    xmax: int
    running: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read Postgres' form, `10:20:10,14,15`; raises ValueError for anything else, and for an impossible one."""
        match = _SNAPSHOT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a snapshot; a snapshot looks like 10:20:10,14,15")
        xmin, xmax, running = int(match[1]), int(match[2]), tuple(int(xid) for xid in match[3].split(",") if xid)
        if not 0 < xmin <= xmax or any(not xmin <= xid < xmax for xid in running) or sorted({*running}) != [*running]:
            raise ValueError(f"{text!r} is not a snapshot that Postgres gives")
        return cls(xmin, xmax, running)

    def sees(self, transaction: int) -> bool:
        """Return whether the effects of `transaction` are visible in it, if it has committed."""
        return transaction < self.xmin or (transaction < self.xmax and transaction not in self.running)

    def below(self, end: int) -> "Snapshot":
        """Return the snapshot that sees what this one does of the transactions below `end`."""
        return Snapshot(min(self.xmin, end), min(self.xmax, end), tuple(xid for xid in self.running if xid < end))

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"


@dataclass(frozen=True, slots=True)
class PollPosition(Position):
    """Where a poller stands: everything that `snapshot` sees is settled, and what `round` says of a later one."""

    snapshot: Snapshot
    round: "Round | None" = None

    def __str__(self) -> str:
        return str(self.snapshot) if self.round is None else f"{self.snapshot} + {self.round}"


@dataclass(frozen=True, slots=True)
class Round:
    """A part of what a later `snapshot` sees: the rows up to `seq`, in the order of that number."""

    snapshot: Snapshot
    seq: int

    def __str__(self) -> str:
        return f"{self.snapshot} up to seq {self.seq}"


@dataclass(frozen=True, slots=True)
class BatchPosition(Position):
    """Every batch of rows up to this one is settled; it counts within this process, and nothing of it is stored."""

    number: int

    def __str__(self) -> str:
        return f"batch {self.number}"
