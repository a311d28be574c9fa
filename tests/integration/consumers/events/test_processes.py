"""`consumers run` with handlers of events as a real process: killed, replaced, and in a database of its own."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from outboxkit import sql
from outboxkit.amqp.errors import ChannelRefused
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.consumers.events.stage import Sent, Stage, aggregate
from tests.integration.consumers.stage import get, metric
from tests.support.commands import Command
from tests.support.proxy import Proxy

Start = Callable[..., Command]
HANDLERS = "tests.integration.consumers.events.handlers"


@pytest.fixture
def stage(isolated: Isolated) -> Stage:
    return Stage(isolated)


@pytest.fixture
def consume(stage: Stage, tmp_path: Path) -> Iterator[Start]:
    """Return what starts `consumers run`, and returns when it takes events; processes end with the test."""
    with ExitStack() as stack:

        def start(**settings: str) -> Command:
            command = stage.command(tmp_path, "run", **{"handlers": HANDLERS, **settings})
            stack.callback(command.end)
            command.logged("consuming events")
            return command

        asyncio.run(stage.declare_exchange())
        yield start


def test_a_consumer_killed_between_the_commit_and_the_ack_applies_nothing_twice(stage: Stage, consume: Start) -> None:
    with Proxy(stage.isolated.amqp_url) as broker:
        first = consume(amqp_url=broker.url)
        broker.swallow_to_server.set()  # deliveries come, and no ack leaves
        asyncio.run(stage.publish(aggregate("a", range(1, 21))))
        asyncio.run(stage.until("SELECT count(*) FROM applied", 40))
        first.kill()
    second = consume()
    asyncio.run(stage.publish(aggregate("a", (21,))))
    asyncio.run(stage.until("SELECT count(*) FROM applied", 42))
    assert second.terminate() == 0
    assert asyncio.run(stage.messages(stage.queue)) == 0
    for handler in ("in_threads", "on_the_loop"):
        assert stage.applied(handler) == [("a", version) for version in range(1, 22)]
    assert stage.rows("SELECT count(DISTINCT by) FROM applied") == [(2,)]


def test_the_order_of_each_aggregate_holds_while_consumers_end_are_killed_and_others_take_over(
    stage: Stage, consume: Start
) -> None:
    names, last = "abcdef", 40
    events = [event for version in range(1, last + 1) for name in names for event in aggregate(name, (version,))]
    running = [consume(), consume()]

    def applied() -> int:
        ((count,),) = stage.rows("SELECT count(*) FROM applied")
        return int(count)

    publishing = [events[at : at + 60] for at in range(0, len(events), 60)]
    for number, some in enumerate(publishing):
        before = applied()
        asyncio.run(stage.publish(some))
        until(lambda before=before: applied() > before, what="some are applied", seconds=60)  # type: ignore[misc]
        gone = running.pop(0)
        if number % 2:
            gone.kill()
        else:
            assert gone.terminate() == 0, gone.tail()
        running.append(consume())
    asyncio.run(stage.until("SELECT count(*) FROM applied", 2 * len(events), seconds=60))
    assert [each.terminate() for each in running] == [0, 0]
    for handler in ("in_threads", "on_the_loop"):
        applied_events = stage.applied(handler)
        for name in names:
            assert [version for each, version in applied_events if each == name] == list(range(1, last + 1)), handler
    assert stage.parked() == []
    ((processes,),) = stage.rows("SELECT count(DISTINCT by) FROM applied")
    assert processes > 2


def test_an_application_with_a_database_of_its_own_has_events_and_no_tasks(
    stage: Stage, consume: Start, tmp_path: Path
) -> None:
    with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox, outbox_setup CASCADE")
    refused = stage.command(tmp_path, "run", handlers=HANDLERS)
    assert refused.ended() == 1
    shown = stage.command(tmp_path, "setup", "--dry-run")
    assert shown.ended() == 0, shown.tail()
    assert "CREATE SCHEMA inbox" in shown.stdout
    for expected in ("applied 017_inbox.sql", "the schema is up to date"):
        setup = stage.command(tmp_path, "setup")
        assert setup.ended() == 0, setup.tail()
        assert expected in setup.stdout
    consumer = consume(queue=stage.isolated.name)
    asyncio.run(stage.publish(aggregate("a", (1,))))
    asyncio.run(stage.until("SELECT count(*) FROM applied", 2))
    # The queue of tasks is not declared: they may be another database's.
    with pytest.raises(ChannelRefused, match="no queue"):
        asyncio.run(stage.messages(stage.isolated.name))
    assert consumer.terminate() == 0


def test_handlers_of_events_without_a_queue_are_an_error_that_names_them(stage: Stage, tmp_path: Path) -> None:
    del stage.settings["events_queue"]
    command = stage.command(tmp_path, "run", handlers=HANDLERS)
    assert command.ended() == 2
    assert "CONSUMERS_EVENTS_QUEUE is not set, and event handlers are registered: in_threads, on_the_loop" in (
        command.stderr
    )


def test_the_example_keeps_a_read_model(stage: Stage, consume: Start) -> None:
    with psycopg.connect(stage.isolated.database_url, autocommit=True) as connection:
        connection.execute(sql.example("order_view"))
    consumer = consume(handlers="consumers.events.examples", http_address="127.0.0.1:0")
    asyncio.run(stage.publish([Sent("42", 2, "paid"), Sent("42", 1, "placed"), Sent("42", 1, "placed")]))
    asyncio.run(stage.until("SELECT status FROM demo.order_view WHERE order_id = '42' AND version = 2", "paid"))
    assert get(consumer, "/readyz") == (200, '{"database":true,"events":true}')
    until(
        lambda: metric(consumer, "consumers_events_total", handler="keep_order", outcome="applied") == 2,
        what="both are counted",
        seconds=30,
    )
    assert consumer.terminate() == 0
