"""`consumers dlq ... --events`: what a queue of events has dead-lettered, and its way back."""

import asyncio
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.events.declaring.event import Event
from consumers.events.declaring.registry import EventHandlers
from sandbox import Isolated
from tests.integration.consumers.events.stage import INSERT, Sent, Stage, row


class Keyed(Sent):
    """A message with a routing key that is not made of its aggregate's type and its own."""

    @property
    def routing_key(self) -> str:
        return "special.key"


@pytest.fixture
def stage(isolated: Isolated) -> Stage:
    return Stage(isolated)


def test_events_are_moved_back_to_the_handlers_of_their_first_key_and_only_what_is_none_is_removed(
    stage: Stage, tmp_path: Path
) -> None:
    newer, older = EventHandlers(), EventHandlers()

    @newer.on("special.#")
    def special(event: Event, connection: psycopg.Connection[Any]) -> None:
        connection.execute(INSERT, row("special", event, event.routing_key))

    @older.on("order.*")
    def ordered(event: Event, connection: psycopg.Connection[Any]) -> None:
        connection.execute(INSERT, row("ordered", event))

    def dlq(*arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - JSON
        command = stage.command(tmp_path, "dlq", *arguments, "--json")
        assert command.ended() == code, command.tail()
        return json.loads(command.stdout) if code == 0 else command.stderr

    async def play() -> None:
        async with stage.running(newer):
            pass  # it binds special.#
        async with stage.running(older):
            await stage.publish([Keyed("a", 1), Keyed("b", 1, body=b"{")])
            await stage.dead(2)
        found = dlq("list", "--events")["messages"]
        assert [each["state"] for each in found] == ["event", "undecodable"]
        assert found[0]["about"] == "special.key: order a, version 1"
        await stage.dead(2)
        # The command for tasks, pointed at this queue, removes no event.
        tasks = stage.settings.pop("events_queue")
        command = stage.command(tmp_path, "dlq", "redrive", "--yes", "--discard", "--json", queue=tasks)
        assert command.ended() == 0, command.tail()
        assert json.loads(command.stdout)["event"] == json.loads(command.stdout)["left"] == 2
        await stage.dead(2)
        assert "CONSUMERS_EVENTS_QUEUE is not set" in dlq("list", "--events", code=2)
        stage.settings["events_queue"] = tasks
        assert "leave it out" in dlq("redrive", "--events", "--discard-stale", "--yes", code=2)
        dlq("redrive", "--events", code=1)  # nobody answers the question
        await stage.dead(2)
        counts = {"matched": 2, "redriven": 1, "event": 1, "undecodable": 1}
        assert dlq("redrive", "--events", "--dry-run") == {"dry_run": True, "discarded": 0, "left": 1, **counts}
        await stage.dead(2)
        done = dlq("redrive", "--events", "--discard", "--yes")
        assert done == {"dry_run": False, "discarded": 1, "left": 0, **counts}
        await stage.dead(0)
        async with stage.running(newer):
            await stage.until("SELECT count(*) FROM applied", 1)

    asyncio.run(play())
    assert stage.rows("SELECT handler, aggregate_id, by FROM applied") == [("special", "a", "special.key")]
