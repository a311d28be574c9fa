"""`relay slot skip` and `relay tail` of one of several relays are about the events of its own partition."""

import json
from typing import LiteralString

import psycopg
import pytest

from outboxkit import sql
from sandbox import Isolated
from tests.integration.relay.stage import call, environment, one, publish
from tests.support.partitions import member

OF = 2
STREAMS: LiteralString = """
UPDATE relay.checkpoint AS c SET mode = 'wal', lsn = s.confirmed_flush_lsn, plugin = s.plugin
FROM pg_replication_slots AS s WHERE c.slot = s.slot_name
"""
MINE: LiteralString = """
SELECT array_agg(id::text ORDER BY seq) FROM outbox.event
WHERE outbox.partition_of(aggregate_type, aggregate_id, 2) = %s
"""
PLACES: LiteralString = """
SELECT array_agg((p.id, p.place)::text ORDER BY p.place) FROM relay.parked AS p WHERE p.relay = 'part1'
"""


@pytest.fixture
def variables(isolated: Isolated) -> dict[str, str]:
    """Return the settings of the relay of partition 1, which has come to stream; two events are not published."""
    for number in range(1, OF + 1):
        assert call(environment(isolated, **member(isolated, number, OF)), "setup").code == 0
    with psycopg.connect(isolated.database_url) as connection:
        assert connection.execute(STREAMS).rowcount == OF
    return environment(isolated, **member(isolated, 1, OF))


def test_a_skip_parks_the_events_of_its_own_partition_with_their_places(
    isolated: Isolated, variables: dict[str, str]
) -> None:
    ids = publish(isolated.database_url, *map(str, range(12)))
    mine = one(isolated.database_url, MINE, 1)
    assert 0 < len(mine) < len(ids)
    listed = call(variables, "slot", "skip", "--json").json
    assert [each["id"] for each in listed["events"]] == mine
    to = listed["transactions"][-1]["end_lsn"]
    assert call(variables, "slot", "skip", "--to", to, "--yes").code == 0
    assert one(isolated.database_url, PLACES) == [f"({each},{ids.index(each) + 1})" for each in mine]


def test_the_table_shows_the_same_events_and_places_when_the_stream_cannot_be_decoded(
    isolated: Isolated, variables: dict[str, str]
) -> None:
    ids = publish(isolated.database_url, *map(str, range(12)))
    mine = one(isolated.database_url, MINE, 1)
    found = call(variables, "slot", "skip", "--json").json
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(
            sql.query("slot_park_skipped"),
            {
                "xids": [each["xid"] for each in found["transactions"]], "relay": "part1", "outbox": "outbox.event",
                "after_lsn": "0/1", "detail": "", "partition": 1, "partitions": OF,
            },
        )  # fmt: skip
    assert one(isolated.database_url, PLACES) == [f"({each},{ids.index(each) + 1})" for each in mine]


def test_tail_prints_the_events_of_its_own_partition(isolated: Isolated, variables: dict[str, str]) -> None:
    publish(isolated.database_url, *map(str, range(12)))
    mine = one(isolated.database_url, MINE, 1)
    said = call(variables, "tail", "--count", str(len(mine)))
    assert said.code == 0
    assert [json.loads(line)["message_id"] for line in said.output.splitlines()] == mine
