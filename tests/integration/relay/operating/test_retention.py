"""`relay retention run`: what it says, what it leaves alone, and what a running relay and a redrive make of it."""

import psycopg
import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.stage import call, environment, one, publish
from tests.support.stage import Stage

CONTENT = """
SELECT (SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relnamespace = 'outbox'::regnamespace)::text
    || (SELECT count(*) FROM outbox.event) || (SELECT count(*) FROM outbox.retired)
"""
OLD_EVENTS = """
INSERT INTO outbox.event (aggregate_type, aggregate_id, aggregate_version, event_type, payload, created_at)
SELECT 'order', n, 1, 'paid', '{}', at::timestamptz
FROM generate_series(1, 3) AS n, unnest(ARRAY['2020-01-01 12:00Z', '2021-01-01 12:00Z']) AS at
"""
PUBLISHED = """
SELECT NOT EXISTS (
    SELECT FROM outbox.event JOIN relay.checkpoint ON snapshot IS NULL OR NOT pg_visible_in_snapshot(tx, snapshot))
"""


def old_partition(isolated: Isolated) -> None:
    """Make a partition of 2020."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(
            "CREATE TABLE outbox.event_20200101 PARTITION OF outbox.event"
            " FOR VALUES FROM ('2020-01-01 00:00Z') TO ('2020-01-02 00:00Z')"
        )


def write(isolated: Isolated) -> None:
    """Commit three events of 2020, and three of 2021, for which there is no partition."""
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(OLD_EVENTS)


def test_a_dry_run_says_what_a_run_does_and_changes_nothing(isolated: Isolated) -> None:
    variables = environment(isolated, RELAY_SOURCE="polling")
    old_partition(isolated)
    write(isolated)
    assert call(variables, "setup").code == 0  # all of it is from before
    before = one(isolated.database_url, CONTENT)

    dry = call(variables, "retention", "run", "--dry-run", "--json").json
    assert call(variables, "retention", "run", "--dry-run").output.count("would be") == 2
    assert one(isolated.database_url, CONTENT) == before
    (partition,) = dry["partitions"]
    assert (partition["partition"], partition["obstacle"], partition["dropped"]) == ("event_20200101", None, False)
    assert dry["default"] == {"events": 3, "removed": False}

    run = call(variables, "retention", "run", "--json").json
    assert run == {"partitions": [partition | {"dropped": True}], "default": {"events": 3, "removed": True}}
    assert one(isolated.database_url, "SELECT sum(events) FROM outbox.retired") == 6
    assert call(variables, "retention", "run", "--json").json == {
        "partitions": [], "default": {"events": 0, "removed": True},
    }  # fmt: skip


def test_what_keeps_a_partition_is_said(isolated: Isolated) -> None:
    variables = environment(isolated, RELAY_SOURCE="polling")
    assert call(variables, "setup").code == 0
    old_partition(isolated)
    write(isolated)
    assert "not published by relay 'relay'" in " ".join(call(variables, "retention", "run").output.split())
    assert one(isolated.database_url, "SELECT count(*) FROM outbox.event") == 6


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("RELAY_RETENTION", "off", "RELAY_RETENTION is off - set RELAY_RETENTION to a duration"),
        ("RELAY_RETENTION", "7", "RELAY_RETENTION"),
        ("RELAY_OUTBOX_TABLE", "shop.outbox", "its owner removes old rows"),
    ],
)
def test_it_is_refused_where_it_has_nothing_to_do(variable: str, value: str, words: str, isolated: Isolated) -> None:
    said = call(environment(isolated, **{variable: value}), "retention", "run")
    assert said.code == 2
    assert words in said.output


@pytest.mark.parametrize(("source", "mode"), [("auto", "wal"), ("polling", "polling")])
def test_a_relay_goes_on_beside_it_and_a_parked_event_is_redriven_after_its_partition_is_gone(
    source: str, mode: str, isolated: Isolated, stage: Stage
) -> None:
    url = isolated.database_url
    old_partition(isolated)
    tap = stage.set_up(RELAY_SOURCE=source)
    tap.unbind()
    relay = stage.start("relay", "run", RELAY_SOURCE=source, RELAY_RETENTION="off")
    until(lambda: one(url, "SELECT mode FROM relay.checkpoint") == mode, what=f"the mode is {mode}", seconds=90)
    write(isolated)
    until(lambda: one(url, "SELECT count(*) FROM relay.parked") == 6, what="six events are parked", seconds=30)
    until(lambda: one(url, PUBLISHED), what="the stored snapshot sees them", seconds=30)

    def dropped() -> bool:
        (partition,) = call(environment(isolated), "retention", "run", "--json").json["partitions"]
        assert partition["obstacle"] is None or "in use" in partition["obstacle"]
        return bool(partition["dropped"])

    until(dropped, what="nobody uses the outbox for a moment", seconds=30)
    assert one(url, "SELECT to_regclass('outbox.event_20200101')") is None
    if mode == "wal":  # the stream is opened again without the partition, and repeats what is not stored by then
        until(lambda: relay.sources[:3] == ["polling", "wal", "wal"], what="the stream is opened again", seconds=30)

    tap.bind()
    parked = one(url, "SELECT array_agg(id ORDER BY id) FROM relay.parked")
    assert call(environment(isolated), "parked", "redrive", "--all").code == 0
    later = publish(url, *map(str, range(20)))
    until(lambda: tap.waiting() >= len(parked) + len(later), what="all of them arrive", seconds=30)
    assert relay.terminate() == 0
    assert sorted(delivery.message for delivery in tap.drain()) == sorted(parked + later)
