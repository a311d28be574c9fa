"""The relays that share the events of an outbox (RELAY_PARTITION), and what is wrong with them together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from relay.core.hashing.partition import Partition


class Member(NamedTuple):
    """A row of sql/queries/partition_members.sql: a relay, or a partition that has none (`vacant`)."""

    name: str
    partition: int
    partitions: int
    vacant: bool
    updated_at: datetime
    active: bool

    def __str__(self) -> str:
        of = Partition(self.partition, self.partitions)
        return f"partition {of}" if self.vacant else f"{self.name!r} ({of})"


def members(connection: psycopg.Connection[Any], relay: str) -> list[Member]:
    """Return the relays that share the outbox of `relay`, with itself, by partition; none if it publishes all."""
    cursor = connection.cursor(row_factory=class_row(Member))
    return cursor.execute(sql.query("partition_members"), {"name": relay}).fetchall()


def missing(found: Sequence[Member], *, beside: str) -> str | None:
    """Return whose events are not published, other than those of relay `beside`; None if there are no such."""
    vacant = [str(each) for each in found if each.vacant]
    away = inactive(found, beside=beside)
    what = [f"no relay is set up for {', '.join(vacant)}"] if vacant else []
    return "; ".join([*what, away] if away else what) or None


def inactive(found: Sequence[Member], *, beside: str) -> str | None:
    """Return which relays are not active, other than relay `beside`; None if all are."""
    away = [str(each) for each in found if not (each.vacant or each.active or each.name == beside)]
    if not away:
        return None
    return f"relay {away[0]} is not active" if len(away) == 1 else f"relays {', '.join(away)} are not active"
