"""A replay beside a live relay: the same events in the same order, and neither waits for the other."""

import psycopg
import pytest

from sandbox.machine.waiting import until
from tests.integration.relay.operating.replay.replay_stage import History, write
from tests.integration.relay.stage import call, environment, one
from tests.support.commands import Command
from tests.support.stage import Stage


@pytest.fixture
def relay(history: History, stage: Stage) -> Command:
    """Start a relay that streams."""
    assert history.isolated == stage.isolated
    relay = stage.start("relay", "run", RELAY_RETURN_AFTER="0")
    relay.streams()
    return relay


def arrived(history: History, count: int) -> list[str]:
    """Wait until so many messages have come; return their ids in order."""
    until(lambda: history.tap.waiting() >= count, what=f"{count} messages", seconds=60)
    return history.ids()


def test_a_replay_of_a_hand_over_publishes_what_the_live_stream_did_in_the_order_of_each_aggregate(
    history: History, relay: Command
) -> None:
    variables = environment(history.isolated)
    first = history.note()
    history.publish("a", "b")
    with history.transaction() as late:
        write(late, "late")
        history.publish("a")
        assert call(variables, "switch", "--to", "polling").code == 0
        history.publish("b", "a")
        with history.transaction() as undone:
            write(undone, "undone")
            undone.rollback()
    history.publish("a")
    streamed = relay.sources.count("wal")
    assert call(variables, "switch", "--to", "auto").code == 0
    until(lambda: relay.sources.count("wal") > streamed, what="it streams again", seconds=60)
    history.publish("b")
    live = arrived(history, 8)
    assert history.replay("--from-lsn", first).code == 0
    replayed = history.ids()
    assert sorted(replayed) == sorted(live)
    assert _by_aggregate(history, replayed) == _by_aggregate(history, live)


def test_events_that_were_parked_and_redriven_are_part_of_their_range_once(history: History, relay: Command) -> None:
    variables = environment(history.isolated)
    first = history.note()
    history.tap.unbind()
    parked = history.publish("a")
    until(lambda: one(history.url, "SELECT count(*) FROM relay.parked") == 1, what="it is parked", seconds=60)
    history.tap.bind()
    later = history.publish("a")
    assert call(variables, "parked", "redrive", *parked).code == 0
    assert sorted(arrived(history, 2)) == sorted(parked + later)
    assert history.replay("--from-lsn", first).code == 0
    assert history.ids() == parked + later
    assert relay.running


def test_the_live_stream_goes_on_while_a_slow_replay_runs_and_stores_its_own_position(
    history: History, relay: Command, stage: Stage
) -> None:
    first = history.note()
    history.publish(*map(str, range(300)))
    arrived(history, 300)
    replay = stage.start("relay", "replay", "--from-lsn", first, "--rate", "10", "--yes")
    history.tap.grows(5, seconds=60)
    live = history.publish("live")
    stage.confirmed()
    assert replay.running
    assert live[0] in history.ids()
    assert "stored position" not in relay.stderr
    replay.terminate()


def test_a_replay_of_everything_into_consumers_changes_no_effect(
    history: History, stage: Stage, relay: Command
) -> None:
    consumer = stage.consumer()
    first = history.note()
    assert stage.submit("--count", "40").ended(seconds=60) == 0
    stage.applied(40)
    effects = sorted((effect.task, effect.version) for effect in stage.effects())
    states = stage.query("SELECT id, status, version FROM tasks.task ORDER BY id")
    assert relay.running
    assert history.replay("--from-lsn", first).code == 0
    (job,) = history.jobs()
    assert job["confirmed"] >= 40
    until(lambda: history.tap.ready(stage.queue) == 0, what="the consumers have taken all", seconds=60)
    consumer.terminate()
    assert sorted((effect.task, effect.version) for effect in stage.effects()) == effects
    assert stage.query("SELECT id, status, version FROM tasks.task ORDER BY id") == states


def _by_aggregate(history: History, ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with psycopg.connect(history.url) as connection:
        rows = connection.execute("SELECT id::text, aggregate_id FROM outbox.event").fetchall()
    of: dict[str, str] = dict(rows)
    for each in ids:
        found.setdefault(of[each], []).append(each)
    return found
