"""What became of the events of a bucket, in the terms of what the relay says of itself. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

from outboxkit.errors import Problem
from relay.core.transactions import Transactions
from relay.storage.audit.buckets import Bucket


@dataclass(frozen=True, slots=True)
class Facts:
    """The columns of sql/queries/audit_facts.sql."""

    at: datetime
    now: str
    recorded: bool
    since: str | None
    besides: str
    tasks: bool
    inbox: bool


class Outcome(NamedTuple):
    """What became of the events of a bucket; the columns of sql/queries/audit_bucket.sql."""

    committed: int
    confirmed: int
    parked: int
    pending: int
    unrecorded: int
    missing: int
    missing_seqs: str

    def repaired(self) -> Self:
        """Return what became of them when the missing ones were confirmed."""
        return self._replace(confirmed=self.confirmed + self.missing, missing=0, missing_seqs="{}")


def outcome_parameters(bucket: Bucket, facts: Facts, confirmed_from: datetime | None) -> dict[str, object]:
    """Return the parameters of sql/queries/audit_bucket.sql but the relay's name."""
    return {
        **bucket.parameters(),
        "recorded_since": facts.since,
        "besides": facts.besides,
        "confirmed_from": confirmed_from,
    }


def count(seqs: str) -> int:
    """Return how many numbers are in Postgres' form of a set of them."""
    return sum(end - start for start, end in Transactions.parse(seqs).ranges())


def union(sets: Sequence[str]) -> str:
    """Return Postgres' form of the numbers of all `sets`; Postgres puts them in order."""
    return "{" + ",".join(each[1:-1] for each in sets if each != "{}") + "}"


def require_record(facts: Facts | None, relay: str) -> str:
    """Return the snapshot since which confirms are recorded; raises a Problem if they are not."""
    if facts is None:
        raise Problem(f"relay {relay!r} has no stored position", remedy="run `relay setup`, or correct RELAY_NAME")
    if facts.since is None:
        raise Problem(
            "this relay has not recorded any confirm yet",
            remedy="start the relay: what is committed from then on can be audited",
        )
    if not facts.recorded:
        raise Problem(
            "the record of confirms has ended: a relay of an earlier version has stored a position since",
            remedy="end it and start a relay of this version: what is committed from then on can be audited",
        )
    return facts.since
