"""A Postgres in a few lines: transaction ids, the WAL, what is visible and what is flushed, and slots. Pure.

It does what makes a hand-over hard: an id is drawn long before the first event, a commit is in the WAL long before it
is visible, a transaction becomes visible before it is flushed, and a crash takes what was not flushed back and gives
its id out again.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum, auto

from relay.core.position import Lsn, Snapshot

_RECORD = 0x20


class Phase(Enum):
    """How far a transaction is."""

    RUNNING = auto()
    COMMITTED = auto()
    """Its commit is in the WAL, and it is not visible: it waits for a standby."""
    VISIBLE = auto()
    ABORTED = auto()


class Row(int):
    """An event: its place in the order of `seq`."""


@dataclass
class Transaction:
    """A transaction with an id."""

    xid: int
    phase: Phase = Phase.RUNNING
    rows: list[Row] = field(default_factory=list)
    aggregates: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Record:
    """A record of a commit or an abort, from `begin` to `end`."""

    begin: Lsn
    end: Lsn
    xid: int
    rows: tuple[Row, ...]
    fence: Snapshot | None = None
    committed: bool = True


@dataclass
class Slot:
    """A slot: it has everything that commits behind `start`, and is being made while that is None."""

    waits_for: set[int]
    start: Lsn | None = None


class Server:
    """One database."""

    def __init__(self) -> None:
        self.transactions: dict[int, Transaction] = {}
        self.wal: list[Record] = []
        self.end = Lsn(0x1000)
        self.flushed = self.end
        self.slot: Slot | None = None
        self.aggregate_of: dict[Row, int] = {}
        self._next = 700
        self._seq = 0

    def begin(self) -> Transaction:
        """Draw an id."""
        transaction = Transaction(self._next)
        self.transactions[self._next] = transaction
        self._next += 1
        return transaction

    def locked(self, aggregate: int) -> bool:
        """Return whether a transaction that has not ended has written an event of `aggregate`."""
        return any(aggregate in each.aggregates for each in self._open())

    def write(self, transaction: Transaction, aggregate: int) -> Row:
        """Insert an event, under the aggregate's lock."""
        self._seq += 1
        row = Row(self._seq)
        transaction.rows.append(row)
        transaction.aggregates.add(aggregate)
        self.aggregate_of[row] = aggregate
        return row

    def commit(self, transaction: Transaction, *, fence: Snapshot | None = None) -> None:
        """Write the commit record; the transaction is not visible yet."""
        self._append(transaction, tuple(transaction.rows), fence, committed=True)
        transaction.phase = Phase.COMMITTED

    def show(self, transaction: Transaction) -> None:
        """Make a committed transaction visible; it may not be flushed."""
        transaction.phase = Phase.VISIBLE

    def abort(self, transaction: Transaction) -> None:
        """Roll back; that is written in the WAL, too."""
        self._append(transaction, (), None, committed=False)
        transaction.phase = Phase.ABORTED

    def flush(self) -> None:
        """Flush the WAL."""
        self.flushed = self.end

    def snapshot(self) -> Snapshot:
        """Return what is visible. Ids at or above the last one that has ended plus one are not listed as running."""
        ended = [each.xid for each in self.transactions.values() if each.phase in {Phase.VISIBLE, Phase.ABORTED}]
        xmax = max(ended, default=699) + 1
        running = tuple(sorted(each.xid for each in self._open() if each.xid < xmax))
        return Snapshot(min(running, default=xmax), xmax, running)

    def rows(self, after: Snapshot, now: Snapshot) -> list[tuple[Row, int]]:
        """Return the rows that `now` sees and `after` does not, with their transactions, in the order of `seq`."""
        return sorted(
            (row, each.xid)
            for each in self.transactions.values()
            if each.phase is Phase.VISIBLE and now.sees(each.xid) and not after.sees(each.xid)
            for row in each.rows
        )

    def visible(self) -> list[Row]:
        """Return every event that is committed and visible, in the order of `seq`."""
        return sorted(row for each in self.transactions.values() if each.phase is Phase.VISIBLE for row in each.rows)

    def make_slot(self) -> None:
        """Begin to make a slot: it waits for the transactions that have an id now."""
        self.slot = Slot({each.xid for each in self._open()})

    def go_on_making(self) -> bool:
        """Finish the slot if all that it waits for has ended; return whether it is made."""
        if self.slot is None:
            return False
        if self.slot.start is None and not self.slot.waits_for & {each.xid for each in self._open()}:
            self.slot.start = self.end
        return self.slot.start is not None

    def streamed(self, after: Lsn) -> list[Record]:
        """Return the flushed commits behind `after`, in their order."""
        return [each for each in self.wal if each.committed and after < each.end <= self.flushed]

    def copy(self) -> "Server":
        """Return a cold copy, as it is when the server is stopped."""
        copied = deepcopy(self)
        copied.flush()
        copied.crash()
        return copied

    def restore(self, copy: "Server") -> None:
        """Go back to an older copy: positions and ids are given out again. Rows are new ones all the same."""
        seq, aggregates = self._seq, self.aggregate_of
        self.__dict__ = deepcopy(copy).__dict__
        self._seq, self.aggregate_of = seq, aggregates

    def crash(self) -> None:
        """Lose what is not flushed, roll back what is open, and give the ids out again."""
        self.wal = [each for each in self.wal if each.end <= self.flushed]
        self.end = self.flushed
        kept = {each.xid for each in self.wal}  # these ids are not given out again, nor are smaller ones
        for transaction in self.transactions.values():
            if transaction.phase in {Phase.VISIBLE, Phase.COMMITTED} and transaction.xid in kept:
                transaction.phase = Phase.VISIBLE
            elif transaction.phase is not Phase.ABORTED:
                transaction.phase = Phase.ABORTED
                transaction.rows = []
        last = max(kept, default=699)
        for xid in [each for each in self.transactions if each > last]:
            del self.transactions[xid]
        self._next = last + 1
        if self.slot is not None and self.slot.start is None:
            self.slot = None

    def _append(
        self, transaction: Transaction, rows: tuple[Row, ...], fence: Snapshot | None, *, committed: bool
    ) -> None:
        begin = self.end
        self.end = Lsn(begin + _RECORD)
        self.wal.append(Record(begin, self.end, transaction.xid, rows, fence, committed))

    def _open(self) -> list[Transaction]:
        return [each for each in self.transactions.values() if each.phase in {Phase.RUNNING, Phase.COMMITTED}]
