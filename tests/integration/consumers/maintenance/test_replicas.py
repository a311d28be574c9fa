"""Jobs in real processes of `consumers run`: three replicas, one of them a day ahead, killed, and started again."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import LiteralString

import pytest

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.consumers.stage import Stage, metric
from tests.support.commands import Command

# A process that has this on its path has a clock that is a day ahead, for all that it asks in Python.
_A_DAY_AHEAD = """
import datetime, time
_ahead, _time, _time_ns = 86_400, time.time, time.time_ns
time.time = lambda: _time() + _ahead
time.time_ns = lambda: _time_ns() + _ahead * 10**9

class _Shifted(type(datetime.datetime)):
    def __instancecheck__(cls, value):
        return isinstance(value, _real)

_real = datetime.datetime

class shifted(_real, metaclass=_Shifted):
    @classmethod
    def now(cls, tz=None):
        return _real.now(tz) + datetime.timedelta(seconds=_ahead)

    @classmethod
    def utcnow(cls):
        return _real.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=_ahead)

datetime.datetime = shifted
"""
# Locks of one job are as long, so the gaps between their ends are those between the begins of its runs.
RUNS: LiteralString = "SELECT locked_until, epoch, pid FROM public.run WHERE job = %s ORDER BY epoch"


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        made = Stage(isolated, tmp_path, stack)
        made.database.execute("CREATE TABLE public.run (job text, epoch bigint, pid integer, locked_until timestamptz)")
        made.settings["CONSUMERS_HANDLERS"] = "tests.integration.consumers.maintenance.scheduled"
        made.settings["TICK_EVERY"] = "1s"
        yield made


@pytest.fixture
def ahead(tmp_path: Path) -> dict[str, str]:
    """Return what gives a process a clock that is a day ahead."""
    (tmp_path / "ahead").mkdir()
    (tmp_path / "ahead" / "sitecustomize.py").write_text(_A_DAY_AHEAD)
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "ahead"), *filter(None, [os.environ.get("PYTHONPATH")])])}


def consume(stage: Stage, **environment: str) -> Command:
    before = dict(stage.settings)
    stage.settings.update(environment)
    try:
        return stage.consume()
    finally:
        stage.settings = before


def runs(stage: Stage, job: str) -> list[tuple[datetime, int, int]]:
    return [(until_, epoch, pid) for until_, epoch, pid in stage.rows(RUNS, job)]


def reach(stage: Stage, job: str, count: int) -> list[tuple[datetime, int, int]]:
    until(lambda: len(runs(stage, job)) >= count, what=f"{job} has run {count} times", seconds=60)
    return runs(stage, job)


def clock(stage: Stage) -> datetime:
    ((now,),) = stage.rows("SELECT clock_timestamp()")
    assert isinstance(now, datetime)
    return now


def test_three_replicas_of_which_one_is_a_day_ahead_run_each_job_once_per_interval(
    stage: Stage, ahead: dict[str, str]
) -> None:
    replicas = [consume(stage), consume(stage), consume(stage, **ahead)]
    started = datetime.fromisoformat(replicas[2].logged("consuming")["timestamp"])
    assert started - clock(stage) > timedelta(hours=23), "its clock is a day ahead"
    begun = len(runs(stage, "tick"))
    reach(stage, "tick", begun + 8)
    for job in ("tick", "tock"):
        found = runs(stage, job)
        gaps = [(after - before).total_seconds() for (before, _, _), (after, _, _) in pairwise(found)]
        assert min(gaps) >= 0.9, f"{job} ran early: {gaps}"
        assert sum(gaps) < 1.5 * len(gaps), f"{job} was left out: {gaps}"
        epochs = [epoch for _, epoch, _ in found]
        assert epochs == sorted(set(epochs))
        before = len(runs(stage, job))
        ran = sum(metric(each, "consumers_jobs_total", name=job, outcome="ran") for each in replicas)
        assert before - 1 <= ran <= len(runs(stage, job))
    assert all(metric(each, "consumers_jobs_total", name="tick") >= 7 for each in replicas), "each replica tried"
    assert len(runs(stage, "hourly")) == 1
    for each in replicas[:2]:
        each.kill()
    before = len(runs(stage, "tick"))
    found = reach(stage, "tick", before + 4)
    assert {pid for _, _, pid in found[before + 1 :]} == {replicas[2].process.pid}
    assert replicas[2].terminate() == 0
    assert len(runs(stage, "hourly")) == 1


def test_a_cron_job_runs_by_the_databases_clock_where_the_nodes_is_a_day_ahead(
    stage: Stage, ahead: dict[str, str]
) -> None:
    due = (clock(stage) + timedelta(seconds=20)).replace(microsecond=0)
    ((month, day, hour, minute, second),) = stage.rows(
        "SELECT extract(month FROM t)::int, extract(day FROM t)::int, extract(hour FROM t)::int,"
        " extract(minute FROM t)::int, extract(second FROM t)::int FROM (SELECT %s AT TIME ZONE 'UTC') AS due (t)",
        due,
    )
    replica = consume(stage, ONCE=f"{second} {minute} {hour} {day} {month} *", **ahead)
    reach(stage, "once", 1)
    assert timedelta(0) <= clock(stage) - due < timedelta(seconds=10)
    assert replica.terminate() == 0


def test_a_killed_holder_is_replaced_when_its_lock_ends_and_not_before(stage: Stage) -> None:
    replicas = [consume(stage, GATED="yes") for _ in range(3)]
    with stage.gate() as open_gate:
        stage.waiting_at_gate(1)
        ((ends, lasts),) = stage.rows(
            "SELECT locked_until, extract(epoch FROM locked_until - started_at)::float8 FROM tasks.lock"
            " WHERE name = 'gated' AND ended_at IS NULL"
        )
        before = runs(stage, "gated")
        (holder,) = [each for each in replicas if each.process.pid == before[-1][2]]
        holder.kill()
        assert clock(stage) < ends
        assert lasts == pytest.approx(3, abs=0.01)
        (until_, _, pid) = reach(stage, "gated", len(before) + 1)[len(before)]
        assert pid in {each.process.pid for each in replicas if each is not holder}
        assert timedelta(0) <= until_ - timedelta(seconds=3) - ends < timedelta(seconds=0.9)
        open_gate()
    assert [each.terminate() for each in replicas if each is not holder] == [0, 0]


def test_at_sigterm_a_running_job_ends_and_its_lock_is_released_and_a_restart_does_not_run_it_early(
    stage: Stage,
) -> None:
    with stage.gate() as open_gate:
        first = consume(stage, GATED="yes")
        stage.waiting_at_gate(1)
        reach(stage, "hourly", 1)
        first.process.terminate()
        until(
            lambda: stage.rows("SELECT FROM tasks.lock WHERE name = 'tick' AND ended_at IS NOT NULL"),
            what="the others are released",
            seconds=30,
        )
        assert first.running
        assert stage.rows("SELECT ended_at IS NULL FROM tasks.lock WHERE name = 'gated'") == [(True,)]
        open_gate()
        assert first.ended() == 0, first.tail()
    assert stage.rows("SELECT FROM tasks.lock WHERE name = 'gated' AND ended_at IS NULL") == []
    second = consume(stage)
    until(
        lambda: metric(second, "consumers_jobs_total", name="hourly", outcome="skipped") == 1,
        what="the restarted consumer tried the job",
        seconds=30,
    )
    assert second.terminate() == 0
    assert len(runs(stage, "hourly")) == 1


def test_no_jobs_run_where_the_scheduler_is_off(stage: Stage) -> None:
    replica = stage.consume(scheduler="off")
    assert "needs CONSUMERS_SCHEDULER=lock or leader" in replica.logged("no scheduled jobs run here")["remedy"]
    stage.submit("greet")
    stage.relay()
    stage.reaches(completed=1)
    assert replica.terminate() == 0
    assert stage.rows("SELECT FROM tasks.lock") == []


def test_a_scheduled_task_is_applied_when_it_is_due(stage: Stage) -> None:
    replica = consume(stage)
    stage.database.execute(
        "INSERT INTO tasks.task (type, status, run_at)"
        " VALUES ('greet', 'scheduled', clock_timestamp() + interval '2 s'),"
        "        ('greet', 'scheduled', clock_timestamp() + interval '1 h')"
    )
    until(stage.relay, what="the first one is announced", seconds=30)
    stage.reaches(completed=1, scheduled=1)
    assert stage.rows(
        "SELECT e.created_at >= t.run_at FROM outbox.event AS e JOIN tasks.task AS t ON t.id::text = e.aggregate_id"
    ) == [(True,)]
    assert replica.terminate() == 0


def test_jobs_go_on_after_their_connection_was_ended(stage: Stage) -> None:
    replica = consume(stage)
    before = len(reach(stage, "tick", 2))
    stage.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name ~ '^consumers (jobs|locks)'"
    )
    reach(stage, "tick", before + 3)
    assert replica.terminate() == 0


def test_a_database_without_the_functions_ends_the_consumer_with_one_line(stage: Stage) -> None:
    replica = consume(stage)
    reach(stage, "tick", 1)
    stage.database.execute("DROP FUNCTION tasks.acquire_lock(text, interval, text)")
    assert replica.ended() == 1
    line = replica.stderr.splitlines()[-1]
    assert line.startswith(
        "consumers: the database has no tables for tasks of this version (function tasks.acquire_lock"
    )
    assert line.endswith("or `relay setup` if it is the outbox's")


def test_a_wrong_declaration_ends_the_consumer_with_one_line(stage: Stage) -> None:
    stage.settings["TICK_EVERY"] = "often"
    replica = stage.command("run")
    assert replica.ended() == 2
    assert replica.stderr.splitlines()[-1].startswith(
        "consumers: job 'tick' runs every TICK_EVERY, whose value is no duration of 0.1 s or more - write a number of"
    )
