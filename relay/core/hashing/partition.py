"""Which events of an outbox a relay publishes: all of them, or one of N partitions, by a hash of the aggregate. Pure.

All events of an aggregate are in one partition, so one relay publishes them, in their order. The hash is the first four
bytes of SHA-256 of type and id: Postgres has it too (outbox.partition_of in sql/schema/020_partitions.sql), so has each
language's standard library, and it is the same in each version and on each machine. Postgres promises that of none of
its own hash functions, and refuses MD5 in FIPS mode.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from relay.core.event import OutboxEvent

MOST = 256
"""Each partition has a relay, and each relay a walsender that decodes the whole WAL."""
_PARTITION = re.compile(r"(0|[1-9][0-9]*)/(0|[1-9][0-9]*)")


def place_of(aggregate_type: str, aggregate_id: str, places: int) -> int:
    """Return which of `places` an aggregate has, from 0; `relay.core.hashing.spread` gives it a queue by the same hash.

    Text of Postgres has no zero byte, so type and id are told apart.
    """
    aggregate = f"{aggregate_type}\0{aggregate_id}".encode(errors="surrogatepass")  # the encoder says what is wrong
    digest = sha256(aggregate).digest()
    return int.from_bytes(digest[:4]) % places


def partition_of(aggregate_type: str, aggregate_id: str, partitions: int) -> int:
    """Return the number of the partition that an aggregate is in, from 1."""
    return place_of(aggregate_type, aggregate_id, partitions) + 1


@dataclass(frozen=True, slots=True)
class Partition:
    """Partition `number` of `of`; 1 of 1 is the whole outbox. `str` gives the form of RELAY_PARTITION, `1/4`."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1/4`; raises ValueError for anything else."""
        match = _PARTITION.fullmatch(text)
        if match is None:
            raise ValueError("it is not a partition")
        number, of = (int(each) if len(each) <= len(str(MOST)) else MOST + 1 for each in match.groups())
        if of > MOST:
            raise ValueError(f"there are at most {MOST} partitions")
        if number == 0:
            raise ValueError("partitions are numbered from 1")
        if number > of:
            raise ValueError(f"there is no partition {match[1]} of {of}")
        return cls(number, of)

    @property
    def whole(self) -> bool:
        """Whether it has every event."""
        return self.of == 1

    def has(self, event: OutboxEvent) -> bool:
        """Return whether `event` is in it."""
        return self.of == 1 or partition_of(event.aggregate_type, event.aggregate_id, self.of) == self.number

    def parameters(self) -> dict[str, int]:
        """Return it as parameters of queries."""
        return {"partition": self.number, "partitions": self.of}

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Partition()
"""The partition of a relay that publishes every event."""
