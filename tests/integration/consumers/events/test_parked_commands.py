"""`consumers events parked ...` without a consumer: what is shown, what is bounded, and how each command ends."""

import json
from pathlib import Path

import psycopg
import pytest

from outboxkit import sql
from sandbox import Isolated
from tests.integration.consumers.events.stage import PARKED, Stage
from tests.support.commands import Command


@pytest.fixture
def stage(isolated: Isolated) -> Stage:
    stage = Stage(isolated)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        for version in range(1, 6):
            changed = {
                "message_id": str(version),
                "aggregate_version": version,
                "consumer": "orders" if version < 5 else "totals",
                "error": f"planted \x1b[31m {version}",
                "headers": '{"aggregate_type": "order"}',
            }
            connection.execute(sql.query("inbox_park"), {**PARKED, **changed})
    return stage


def done(command: Command, code: int = 0) -> str:
    """Return what a command has printed; it must end with `code`."""
    assert command.ended() == code, command.tail()
    return command.stdout


def test_events_are_listed_and_shown_and_lists_are_bounded(stage: Stage, tmp_path: Path) -> None:
    def parked(*arguments: str, code: int = 0) -> Command:
        command = stage.command(tmp_path, "events", "parked", *arguments)
        done(command, code)
        return command

    rows = json.loads(parked("list", "--json", "--handler", "orders").stdout)
    assert [(row["consumer"], row["aggregate_version"], row["times"]) for row in rows] == [
        ("orders", version, 1) for version in range(1, 5)
    ]
    bounded = parked("list", "--limit", "2")
    assert "planted \\x1b[31m 2" in bounded.stdout
    assert "planted \\x1b[31m 3" not in bounded.stdout
    assert "3 more wait" in bounded.stderr
    number = rows[0]["number"]
    (shown,) = json.loads(parked("show", str(number), "--json").stdout)
    assert (shown["body"], shown["headers"], shown["reason"]) == ("{}", {"aggregate_type": "order"}, "failed")
    assert "not in inbox.parked: 999" in parked("show", str(number), "999", code=1).stderr


def test_what_is_redriven_and_discarded_is_what_was_chosen_and_nothing_twice(stage: Stage, tmp_path: Path) -> None:
    def parked(*arguments: str, code: int = 0) -> Command:
        command = stage.command(tmp_path, "events", "parked", *arguments)
        done(command, code)
        return command

    assert "give numbers of events, or --all" in parked("redrive", code=2).stderr
    dry = parked("redrive", "--handler", "orders", "--limit", "2", "--dry-run").stdout
    assert "2 parked events would be redriven" in dry
    parked("redrive", "--all", code=1)  # nobody answers the question
    assert stage.rows("SELECT count(*) FROM inbox.parked WHERE asked_at IS NOT NULL") == [(0,)]
    for _ in range(2):  # it waits still: to ask again is no error
        assert parked("redrive", "--handler", "totals", "--yes").stdout == "1 redriven\n"
    assert stage.rows("SELECT consumer FROM inbox.parked WHERE asked_at IS NOT NULL") == [("totals",)]
    parked("discard", "--all", code=1)  # nobody answers the question
    assert len(stage.parked()) == 5
    assert parked("discard", "--all", "--limit", "4", "--yes").stdout == "4 discarded\n"
    assert [each[0] for each in stage.parked()] == ["totals"]
    assert stage.rows("SELECT count(*) FROM inbox.message") == [(5,)]  # their claims stay
