"""Commands of relays that share an outbox, and what their positions are afterwards."""

from typing import LiteralString

from sandbox import Isolated
from tests.integration.relay.stage import Said, call, environment
from tests.support.partitions import member

ROWS: LiteralString = """
SELECT array_agg(
    (name, slot, partition, partitions, vacant, mode, lsn IS NULL, recorded_epoch = epoch)::text ORDER BY partition
) FROM relay.checkpoint
"""
BEGINS: LiteralString = "SELECT count(DISTINCT (snapshot::text, recorded_since::text)) FROM relay.checkpoint"
SLOTS: LiteralString = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"


def relay(isolated: Isolated, number: int, of: int, *command: str, **changes: str) -> Said:
    return call(environment(isolated, **{**member(isolated, number, of), **changes}), *command)


def checked(said: Said) -> dict[str, dict[str, str]]:
    return {each["id"]: each for each in said.json["checks"]}
