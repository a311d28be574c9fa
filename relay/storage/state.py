"""What a relay has published, as it is stored: in terms of the WAL, of the table, or of both. Pure."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from relay.core.position import Lsn, PollPosition, Position, Round, Snapshot
from relay.core.transactions import Transactions

Mode = Literal["wal", "polling"]


@dataclass(frozen=True, slots=True)
class Filter:
    """What a stream passes over, since it was polled: transactions that began to commit before `end`.

    Of these, those that `snapshot` sees, and those in `State.streamed`.
    """

    snapshot: Snapshot
    end: Lsn


@dataclass(frozen=True, slots=True)
class State:
    """Where a relay stands; the columns of relay.checkpoint that change while it runs."""

    mode: Mode
    lsn: Lsn | None
    """Every event of a transaction that ends in the WAL at or before this was published, or passed over as polled."""
    snapshot: Snapshot | None
    """Every event of a transaction that this sees was published. None in a row of a version that did not store it."""
    streamed: Transactions
    """Transactions that were published, and that `snapshot` does not see."""
    round: Round | None = None
    filter: Filter | None = None
    making_slot: bool = False

    @property
    def position(self) -> Position | None:
        """The position of the source that `mode` names."""
        if self.mode == "wal" or self.snapshot is None:
            return self.lsn
        return PollPosition(self.snapshot, self.round)

    def polled_on(self) -> Self:
        """Return the state from which polling goes on."""
        return replace(self, mode="polling", filter=None)

    def streamed_on(self, start: Lsn, end: Lsn) -> Self:
        """Return the state from which a stream goes on at `start`; `end` is where the WAL ended after the last poll.

        It passes over what was polled, and what was streamed before that.
        """
        if self.snapshot is None:
            raise ValueError("nothing was polled")
        return replace(self, mode="wal", lsn=start, round=None, making_slot=False, filter=Filter(self.snapshot, end))

    def parameters(self) -> dict[str, object]:
        """Return the state as parameters of sql/queries/checkpoint_save.sql."""
        of_round, of_filter = self.round, self.filter
        return {
            "mode": self.mode,
            "lsn": _text(self.lsn),
            "snapshot": _text(self.snapshot),
            "streamed": str(self.streamed),
            "round_snapshot": of_round and str(of_round.snapshot),
            "round_seq": of_round and of_round.seq,
            "filter_snapshot": of_filter and str(of_filter.snapshot),
            "filter_end": of_filter and str(of_filter.end),
            "making_slot": self.making_slot,
        }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
