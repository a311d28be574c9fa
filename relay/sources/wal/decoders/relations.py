"""Which relations of a stream are the outbox. Pure.

wal2json names a row's partition, not its table, and only the catalog knows which names are partitions. A stream is
opened with what the catalog said then; a snapshot tells which transactions that covers:

    the name is                                  the transaction is seen          is not seen
    a partition                                  the outbox                       the outbox
    another table                                not the outbox                   not the outbox
    another table, a partition before            the outbox: written before       not the outbox
                                                 it was detached
    unknown, and a partition before              the outbox                       OutboxChanged
    unknown, and begins with the table's name    the outbox                       OutboxChanged
    unknown                                      not the outbox                   OutboxChanged

At OutboxChanged the stream is opened again, with new facts, which see the transaction: so this ends. A name that the
facts do not have, although they see the transaction, was dropped or renamed since.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from relay.core.errors import OutboxChanged
from relay.core.position import Snapshot
from relay.sources.layout import Column, Layout
from relay.storage.facts import TableFacts

Name = tuple[str, str]
"""The schema and the name of a relation."""

TX = "tx"
"""The column of our own table that names the transaction which wrote a row."""

_XIDS = 1 << 32
_EVERYTHING = Snapshot(_XIDS, _XIDS)


@dataclass(frozen=True, slots=True)
class Relations:
    """What the catalog said when the stream was opened; make it with `of`."""

    table: Name
    leaves: frozenset[Name]
    """What holds the rows of the outbox: its partitions, or the table itself."""
    others: frozenset[Name] = frozenset()
    former: frozenset[Name] = frozenset()
    """What this process has seen as leaves before."""
    snapshot: Snapshot = _EVERYTHING
    domains: Mapping[int, int] = field(default_factory=dict)
    """From the domains of columns to the types below them."""

    @classmethod
    def of(cls, layout: Layout, facts: TableFacts, former: frozenset[Name] = frozenset()) -> Self:
        """Return the relations of the table that `layout` names."""
        return cls(
            table=(layout.schema, layout.table),
            leaves=frozenset((schema, name) for schema, name in facts.leaves),
            others=frozenset((layout.schema, name) for name in facts.others),
            former=former,
            snapshot=Snapshot.parse(facts.snapshot),
            domains={column.type: column.base for column in facts.columns},
        )

    def column(self, name: str, oid: int) -> Column:
        """Return a column of type `oid` as layouts know it: with the type below a domain."""
        return Column(name, self.domains.get(oid, oid))

    def hold(self, name: Name, xid: int, *, alike: bool = False) -> bool:
        """Return whether a row of `name`, written by `xid`, is a row of the outbox; raises OutboxChanged.

        `xid` is the low half of a transaction's id, which is all that a stream has. `alike` is whether the row has the
        columns of our own table. If a table of its schema is gone, or has another name now, such a row of it is an
        event: a partition may be attached and renamed before anybody looks, and a copy names another transaction
        (`moved`).
        """
        if name in self.leaves:
            return True
        if name in self.others and name not in self.former:
            return False
        if self._sees(xid):
            gone = name not in self.others
            alike = alike and name[0] == self.table[0]
            return name in self.former or (gone and (alike or name[1].startswith(f"{self.table[1]}_")))
        if name in self.others:
            return False
        raise OutboxChanged(
            f"table {'.'.join(name)} is in the stream, and was not there when the stream was opened",
            remedy="the relay opens the stream again by itself, and asks whether it is a partition",
        )

    def _sees(self, xid: int) -> bool:
        """Return whether the facts are newer than `xid`, one of the last or next two billion."""
        ahead = (xid - self.snapshot.xmax) % _XIDS
        full = self.snapshot.xmax + ahead - (_XIDS if ahead >= _XIDS // 2 else 0)
        return full < self.snapshot.xmax and full not in self.snapshot.running


def written_by(tx: object, xid: int) -> int | None:
    """Return the transaction that wrote a row with `tx`: 64 bits where the row says so; None for a row that was moved.

    A row from before its table had the column says nothing.
    """
    if not isinstance(tx, str) or not tx.isdecimal():
        return xid
    return None if moved(tx, xid) else int(tx)


def moved(tx: object, xid: int) -> bool:
    """Return whether a row of our own table, with `tx`, was written first by another transaction than `xid`."""
    return isinstance(tx, str) and tx.isdecimal() and int(tx) % _XIDS != xid
