"""A poll that reads only which events there are gives the same ones as a poll that reads them whole, of any table."""

import asyncio
from typing import Any

import psycopg
import pytest

from relay.core.event import OutboxEvent
from relay.core.position import Snapshot
from relay.core.transactions import Transactions
from relay.shadow.pace import Pace
from relay.shadow.polled import PolledReader
from relay.shadow.row import Row, rows
from relay.sources.layout import Layout, layout
from relay.sources.polling.source import POLLS, PollingSource, Settings
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import State
from sandbox import Isolated

NATIVE = """
CREATE SCHEMA shop;
CREATE TABLE shop.outbox (
    id uuid PRIMARY KEY, "50%" bigint GENERATED ALWAYS AS IDENTITY, aggregate_type text NOT NULL,
    aggregate_id character(8), aggregate_version bigint, event_type text NOT NULL, payload jsonb, headers jsonb,
    exchange text, routing_key text, created_at timestamptz DEFAULT now(), tx xid8 DEFAULT pg_current_xact_id()
);
"""
DEBEZIUM = """
CREATE SCHEMA shop;
CREATE TABLE shop.outbox (
    id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid inet, type text NOT NULL, payload text,
    tx xid8 DEFAULT pg_current_xact_id()
);
"""
INTO_NATIVE = """
INSERT INTO shop.outbox (id, aggregate_type, aggregate_id, event_type)
SELECT gen_random_uuid(), 'order', 'a' || n, 'paid' FROM generate_series(1, 1203) AS n
"""
INTO_DEBEZIUM = """
INSERT INTO shop.outbox (id, aggregatetype, aggregateid, type)
SELECT gen_random_uuid(), 'order', CASE WHEN n % 2 = 0 THEN '10.0.0.1'::inet END, 'paid' FROM generate_series(1, 7) AS n
"""


@pytest.mark.parametrize(
    ("table", "insert", "of"),
    [
        (NATIVE, INTO_NATIVE, layout("native", "shop.outbox", {"seq": "50%"}, partitioned=False)),
        (DEBEZIUM, INTO_DEBEZIUM, layout("debezium", "shop.outbox", {}, partitioned=False)),
    ],
    ids=["native", "debezium"],
)
def test_it_gives_the_same_events_in_the_same_order(isolated: Isolated, table: str, insert: str, of: Layout) -> None:
    async def both() -> tuple[list[Row], list[Row]]:
        async with session(isolated, "whole") as whole, session(isolated, "identities") as other:
            server = Server(other, name="relay", slot="none", table="shop.outbox")
            facts, found = await server.facts(), await server.table()
            source = PollingSource(
                whole, lambda _: of, settings=Settings(0.01, 5000), positions=None, listening=None,
                observe=lambda _: None,
            )  # fmt: skip
            state = State("polling", None, Snapshot.parse(found.snapshot), Transactions())
            reader = PolledReader(other, server, lambda _: of, interval=0.01, pace=Pace(1.0))
            async with source.open(facts, found, state) as stream, reader.open() as polled:
                with psycopg.connect(isolated.database_url) as connection:
                    connection.execute(insert)
                events: list[Any] = []
                while not any(isinstance(event, OutboxEvent) for event in events):
                    events = [*await stream.receive()]
                given: list[Row] = []
                while len(given) < len(rows(events, 0)):
                    given += (await polled.next()).rows
                return rows(events, 0), given

    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(table)
    whole, given = asyncio.run(both())
    assert len(whole) in {1203, 7}
    assert given == whole


def session(isolated: Isolated, name: str) -> Session:
    return Session(lambda: isolated.database_url, name=name, slot="none", prepared=POLLS)
