"""A replay is a job: killed, interrupted, resumed, held by one process, at a rate."""

import signal
import time
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from sandbox.machine.waiting import until
from tests.integration.relay.operating.replay.replay_stage import History, lines
from tests.integration.relay.stage import call, environment
from tests.support.commands import Command
from tests.support.stage import Stage

_EVENTS = 2000
_RATE = 100
"""Slow enough for a busy machine: no job has ended before a test has done what it wants to do with a running one."""


@pytest.fixture
def begin(history: History) -> str:
    """Return the LSN behind which there are many events."""
    first = history.note()
    history.publish(*map(str, range(_EVENTS)))
    return first


def replaying(history: History, stage: Stage, first: str, *, rate: int = _RATE, above: int = 80) -> Command:
    """Start a replay that has published some of the events, and takes a while for the others."""
    replay = stage.start("relay", "replay", "--from-lsn", first, "--rate", str(rate), "--yes", "--json")
    history.tap.grows(above, seconds=60)
    return replay


def test_a_job_that_is_killed_is_interrupted_and_resumed_with_few_events_twice_and_none_missing(
    history: History, stage: Stage, begin: str
) -> None:
    replay = replaying(history, stage, begin)
    replay.process.send_signal(signal.SIGKILL)
    replay.ended()
    job = history.interrupted()
    until(lambda: history.tap.waiting() >= job["confirmed"], what="all that were confirmed are there", seconds=60)
    history.hurry()
    said = call(environment(history.isolated), "replay", "resume", str(job["job"]))
    assert said.code == 0, said.output
    ids = history.ids()
    wanted = _written(history)
    assert list(dict.fromkeys(ids)) == wanted
    assert len(ids) - len(wanted) <= _RATE + 100  # what it published in a second, and what was in flight
    assert history.jobs()[0]["state"] == "finished"
    again = call(environment(history.isolated), "replay", "resume", str(job["job"]))
    assert (again.code, "has finished" in again.output) == (1, True)


def test_a_job_that_is_interrupted_by_ctrl_c_goes_on_without_a_duplicate(
    history: History, stage: Stage, begin: str
) -> None:
    replay = replaying(history, stage, begin)
    replay.process.send_signal(signal.SIGINT)
    assert replay.ended() == 1, replay.tail()
    (job,) = history.jobs()
    assert job["state"] == "interrupted"
    assert f"relay replay resume {job['job']}" in replay.stderr
    assert lines(replay.stdout)[-1]["what"] == "interrupted"
    history.hurry()
    assert call(environment(history.isolated), "replay", "resume", str(job["job"])).code == 0
    assert history.ids() == _written(history)


def test_a_job_runs_once_at_a_time(history: History, stage: Stage, begin: str) -> None:
    replay = replaying(history, stage, begin, above=5)
    (job,) = history.jobs()
    assert job["state"] == "running"
    said = call(environment(history.isolated), "replay", "resume", str(job["job"]))
    assert (said.code, "runs already" in said.output) == (1, True)
    assert history.jobs()[0]["state"] == "running"
    replay.process.send_signal(signal.SIGINT)
    assert replay.ended() == 1


def test_a_job_goes_on_by_itself_when_its_sessions_with_postgres_are_ended(
    history: History, stage: Stage, begin: str
) -> None:
    replay = replaying(history, stage, begin, rate=300, above=5)
    ended = stage.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'relay replay%%' AND datname = current_database()"
    )
    assert ended
    assert replay.ended(seconds=60) == 0, replay.tail()
    ids = history.ids()
    assert list(dict.fromkeys(ids)) == _written(history)


@pytest.mark.parametrize("rate", [40, 700])
def test_the_rate_is_kept_within_a_tenth(history: History, rate: int) -> None:
    first = history.note()
    history.publish(*map(str, range(rate * 4)))
    began = time.monotonic()
    said = history.replay("--from-lsn", first, "--rate", str(rate), "--json")
    assert said.code == 0
    found = lines(said.output)
    assert time.monotonic() - began > 4 * 0.9
    assert found[-1]["done"] == rate * 4
    progress = [_clocked(line) for line in found if line["what"] == "progress" and line["done"]]
    assert len(progress) >= 3
    # A second in which the machine stands still is slower; and so is one with late confirms, which count in the next.
    rates = [(done - before) / (at - since) for (since, before), (at, done) in pairwise(progress)]
    assert max(rates) >= 0.5 * rate
    assert min(rates) <= 1.1 * rate


def _clocked(line: dict[str, Any]) -> tuple[float, int]:
    """Return after how many seconds a line was printed, and how many events were done then."""
    return line["done"] / line["rate"], line["done"]


def test_without_a_terminal_and_without_yes_nothing_is_published(history: History, begin: str) -> None:
    said = call(environment(history.isolated), "replay", "--from-lsn", begin)
    assert (said.code, "--yes" in said.output) == (2, True)
    assert history.jobs() == []


def test_the_remedies_of_a_replay_name_the_replay_and_nothing_of_the_live_stream(history: History, begin: str) -> None:
    history.tap.unbind()
    failed = history.replay("--from-lsn", begin, RELAY_ON_RETURN="halt")
    number = history.jobs()[0]["job"]
    assert f"replay {number} has failed: event " in failed.output
    assert f"then `relay replay resume {number}` goes on" in failed.output
    assert "start the relay again" not in failed.output


def test_a_job_of_another_system_is_refused(history: History, begin: str) -> None:
    history.tap.unbind()
    assert history.replay("--from-lsn", begin, RELAY_ON_RETURN="halt").code == 1
    with psycopg.connect(history.url) as connection:
        connection.execute("UPDATE relay.replay SET system_identifier = '1'")
    (job,) = history.jobs()
    said = call(environment(history.isolated), "replay", "resume", str(job["job"]))
    assert (said.code, "was made on system 1" in said.output) == (1, True)


def test_the_list_names_what_can_be_resumed(history: History, begin: str) -> None:
    assert "has replayed nothing" in call(environment(history.isolated), "replay", "list").output
    history.tap.unbind()
    assert history.replay("--from-lsn", begin, RELAY_ON_RETURN="halt").code == 1
    (job,) = history.jobs()
    assert (job["state"], "no queue takes" in job["detail"]) == ("failed", True)
    output = call(environment(history.isolated), "replay", "list").output
    assert f"`relay replay resume {job['job']}` goes on" in output
    assert job["detail"] in output


def test_an_option_before_a_subcommand_is_refused_and_not_passed_over(history: History) -> None:
    for options in (["--json"], ["--rate", "5"], ["--config", "relay.toml"]):
        said = call(environment(history.isolated), "replay", *options, "list")
        assert (said.code, f"{options[0]} stands before 'list'" in said.output) == (2, True), said.output


def test_a_relay_of_another_name_has_nothing_to_replay(history: History, begin: str) -> None:
    said = history.replay("--from-lsn", begin, RELAY_NAME="misspelt")
    assert said.code == 1
    assert "relay 'misspelt' has no stored position" in said.output
    assert "correct RELAY_NAME" in said.output


def _written(history: History) -> list[str]:
    with psycopg.connect(history.url) as connection:
        return [row[0] for row in connection.execute("SELECT id::text FROM outbox.event ORDER BY seq")]
