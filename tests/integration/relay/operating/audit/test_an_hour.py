"""An hour of generated history: overlapping transactions, rollbacks, late commits, repeats, and merged records."""

import random
from typing import LiteralString

import psycopg
import pytest

from outboxkit import sql
from sandbox import Isolated
from tests.integration.relay.operating.audit.audit_stage import PUBLISHED, Played
from tests.integration.relay.stage import one

STEPS = 360
WRITE: LiteralString = """
INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
SELECT 'order', n::text, 1, 'paid', '{}' FROM generate_series(1, %s) AS n RETURNING seq, id::text
"""
CONFIRM: LiteralString = """
WITH added AS (
    INSERT INTO relay.confirmed (relay, at, seqs, ids, ids_hash)
    SELECT 'relay', clock_timestamp() - %(ago)s * interval '1 s', range_agg(int8range(seq, seq, '[]')),
           array_agg(id ORDER BY seq), sum(hashtextextended(id::text, 0)::numeric)
    FROM unnest(%(seqs)s::bigint[], %(ids)s::uuid[]) AS given (seq, id) HAVING count(*) > 0 RETURNING 1)
SELECT count(*) FROM added
"""
HISTORY: LiteralString = """
INSERT INTO relay.checkpoint_history (relay, at, lsn, snapshot, next, mode, system_identifier, timeline)
SELECT 'relay', clock_timestamp() - %(ago)s * interval '1 s', pg_current_wal_insert_lsn(), pg_current_snapshot(),
       pg_current_xact_id(), 'wal', system_identifier::text, 1 FROM pg_control_system()
"""


class Hour:
    """Writes an hour in some seconds: each step is ten seconds of it, `ago` seconds ago."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self._url = url
        self._chance = chance
        self.expected: set[str] = set()
        self.missing: set[str] = set()

    def write(self) -> None:
        chance = self._chance
        with (
            psycopg.connect(self._url) as a,
            psycopg.connect(self._url) as b,
            psycopg.connect(self._url, autocommit=True) as relay,
        ):
            waiting: dict[psycopg.Connection[tuple[object, ...]], list[tuple[int, str]]] = {a: [], b: []}
            for step in range(STEPS):
                ago = 10 * (STEPS - step)
                done: list[tuple[int, str]] = []
                for writer in (a, b):
                    waiting[writer] += [
                        (int(str(seq)), str(id_)) for seq, id_ in writer.execute(WRITE, [chance.randint(1, 4)])
                    ]
                    ending = chance.random()
                    if ending < 0.5:
                        writer.commit()
                        done += waiting[writer]
                        waiting[writer] = []
                    elif ending < 0.6:
                        writer.rollback()
                        waiting[writer] = []
                self._publish(relay, done, ago)
                relay.execute(HISTORY, {"ago": ago})
            for writer, events in waiting.items():
                writer.commit()
                self._publish(relay, events, 1)
            relay.execute(HISTORY, {"ago": 0})

    def _publish(self, relay: psycopg.Connection[tuple[object, ...]], events: list[tuple[int, str]], ago: int) -> None:
        """Confirm `events`, except some that the relay passes over; the position covers all of them."""
        passed = {id_ for _, id_ in events if self._chance.random() < 0.01}
        self.missing |= passed
        self.expected |= {id_ for _, id_ in events}
        confirmed = [(seq, id_) for seq, id_ in events if id_ not in passed]
        again = confirmed[-1:] if self._chance.random() < 0.1 else []
        for part in (confirmed, again):
            seqs, ids = [seq for seq, _ in part], [id_ for _, id_ in part]
            relay.execute(CONFIRM, {"ago": ago, "seqs": seqs, "ids": ids})
        relay.execute(PUBLISHED)


@pytest.mark.parametrize("thinned", [False, True])
def test_exactly_what_was_passed_over_is_missing(thinned: bool, ready: Isolated, seed: int) -> None:  # noqa: FBT001 - a parameter
    played = Played(ready)
    played.publish()
    with psycopg.connect(played.url) as connection:
        connection.execute(HISTORY, {"ago": 10 * STEPS + 20})
    hour = Hour(played.url, random.Random(seed))  # noqa: S311 - the run prints its seed
    hour.write()
    if thinned:
        with psycopg.connect(played.url) as connection:
            connection.execute("UPDATE relay.checkpoint_history SET at = at - interval '2 hours'")
            connection.execute("UPDATE relay.confirmed SET at = at - interval '2 hours'")
            connection.execute(sql.query("position_thin"), {"relay": "relay", "keep": None})
        played.note()
        assert one(played.url, "SELECT count(*) FROM relay.confirmed WHERE ids IS NULL") > 30
    said = played.audit("--since", "4h", "--ids")
    totals = said.json["totals"]
    assert {each["id"] for each in said.json["missing"]} == hour.missing
    assert (totals["committed"], totals["confirmed"]) == (len(hour.expected), len(hour.expected) - len(hour.missing))
    assert (totals["pending"], totals["extra"], totals["changed"]) == (0, 0, 0), said.output
    assert len(said.json["buckets"]) >= 50
