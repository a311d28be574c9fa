"""`@task_lock`: what may be declared, and what becomes of it under which settings."""

import functools
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import consumers
from consumers.errors import JobUnusable
from consumers.handlers.declaring import registry as handlers
from consumers.maintenance.declaring.declaration import JobContext
from consumers.maintenance.declaring.planning import Plan, plan
from consumers.maintenance.declaring.registry import Jobs
from consumers.maintenance.declaring.schedule import Cron, Every
from consumers.settings import ConsumerSettings
from outboxkit.settings import load


def nothing() -> None: ...


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CONSUMERS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CONSUMERS_DATABASE_URL", "postgresql://u:planted@h/d")
    monkeypatch.setenv("CONSUMERS_AMQP_URL", "amqp://localhost/v")


def planned(function: Callable[..., Any] = nothing, **options: Any) -> Plan:  # noqa: ANN401 - of task_lock
    jobs = Jobs()
    assert jobs.task_lock("report", **options)(function) is function
    (job,) = jobs
    return plan(job, load(ConsumerSettings))


def refused(function: Callable[..., Any] = nothing, name: str = "report", **options: Any) -> str:  # noqa: ANN401 - the same
    with pytest.raises(JobUnusable) as raised:
        Jobs().task_lock(name, **options)(function)
    return str(raised.value)


def test_a_number_a_duration_and_a_timedelta_are_the_same() -> None:
    for every in (90, 90.0, "90", "90 s", "1m30s", timedelta(seconds=90)):
        assert planned(every=every) == Plan(Every(90), 5, 0.9, 0)


def test_the_name_of_a_setting_or_of_a_variable_is_looked_up_when_the_consumer_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONSUMERS_PRUNE_EVERY", "2m")
    monkeypatch.setenv("REPORT_EVERY", "1h")
    assert planned(every="CONSUMERS_PRUNE_EVERY").schedule == Every(120)
    assert planned(every="CONSUMERS_LEASE").schedule == Every(30)
    assert planned(every="REPORT_EVERY").schedule == Every(3600)


def test_a_name_that_is_not_set_or_is_no_duration_is_an_error_with_the_jobs_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPORT_EVERY", "often")
    with pytest.raises(JobUnusable, match=r"job 'report' runs every NO_SUCH, which is not set - set NO_SUCH to a dur"):
        planned(every="NO_SUCH")
    for name in ("REPORT_EVERY", "CONSUMERS_QUEUE", "CONSUMERS_DATABASE_URL"):
        with pytest.raises(JobUnusable, match=f"job 'report' runs every {name}, whose value is no duration") as raised:
            planned(every=name)
        assert not any(value in str(raised.value) for value in ("often", "tasks", "planted")), "it may be a secret"


def test_factors_and_zone_come_from_the_settings_unless_the_job_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("JOB_AT_MOST", "3"), ("JOB_AT_LEAST", "0.5"), ("TIME_ZONE", "Europe/Berlin")):
        monkeypatch.setenv(f"CONSUMERS_{name}", value)
    assert planned(every=1) == Plan(Every(1), 3, 0.5, 0)
    assert planned(every=1, at_most=1, at_least=0, initial_delay="1m") == Plan(Every(1), 1, 0, 60)
    assert planned(every=1, at_most=0.4) == Plan(Every(1), 0.4, 0.4, 0)
    berlin = planned(cron="0 3 * * *").schedule
    assert isinstance(berlin, Cron)
    assert str(berlin.zone) == "Europe/Berlin"
    tokyo = planned(cron="0 3 * * *", time_zone="Asia/Tokyo").schedule
    assert isinstance(tokyo, Cron)
    assert str(tokyo.zone) == "Asia/Tokyo"


def test_a_mistake_is_refused_where_the_job_is_declared_with_its_name_and_what_is_allowed() -> None:
    assert refused(every="5 parsecs") == (
        "job 'report': every: '5 parsecs' is no duration - write a number of seconds, or a duration with its units, "
        'such as "90 s", "5m" or "1h30m" (ms, s, m, h, d, w), or the name of a setting or an environment variable that '
        "has one of these"
    )
    assert "every: 0.01 is less than 0.1 s" in refused(every=0.01)
    assert "every: None" not in refused()
    assert "needs one schedule - give it every= or cron=" in refused()
    assert "needs one schedule" in refused(every=1, cron="* * * * *")
    assert "cron: '0 3' is no cron expression" in refused(cron="0 3")
    assert "'Mars/Olympus' is no time zone" in refused(cron="* * * * *", time_zone="Mars/Olympus")
    assert "a time zone and no cron=" in refused(every=1, time_zone="UTC")
    assert "at most 0 and" in refused(every=1, at_most=0)
    assert "at least 1.1 times" in refused(every=1, at_least=1.1)
    assert "at most 0.5 and at least 0.6" in refused(every=1, at_most=0.5, at_least=0.6)
    assert "initial_delay: 'soon' is no duration" in refused(every=1, initial_delay="soon")


@pytest.mark.parametrize("name", ["", "x" * 201, "scheduler", "consumers.prune-ended-tasks"])
def test_a_name_that_cannot_be_or_is_taken_is_refused(name: str) -> None:
    assert "name" in refused(name=name, every=1)


def test_two_jobs_of_one_name_are_refused() -> None:
    jobs = Jobs()
    jobs.task_lock("report", every=1)(nothing)
    with pytest.raises(JobUnusable, match="two jobs are called 'report'"):
        jobs.task_lock("report", every=1)(nothing)


def test_a_job_takes_a_context_or_nothing() -> None:
    def context(context: JobContext) -> None: ...
    def optional(limit: int = 3) -> None: ...
    def two(context: JobContext, more: int) -> None: ...
    def keyword(*, more: int) -> None: ...

    jobs = Jobs()
    functions: list[Callable[..., None]] = [nothing, context, optional, functools.partial(two, more=1)]
    for number, function in enumerate(functions):
        jobs.task_lock(f"job {number}", every=1)(function)
    assert [job.takes_context for job in jobs] == [False, True, False, True]
    for function in (two, keyword):
        assert "takes more than a context" in refused(function, every=1)


def test_async_functions_are_recognized() -> None:
    async def later() -> None: ...

    jobs = Jobs()
    jobs.task_lock("sync", every=1)(nothing)
    jobs.task_lock("async", every=1)(later)
    assert [job.is_async for job in jobs] == [False, True]


def test_the_decorator_is_public() -> None:
    assert {"task_lock", "JobContext"} <= set(consumers.__all__)


def test_a_mistake_in_the_module_of_handlers_keeps_its_own_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong_job.py").write_text(
        "from consumers import task_lock\n@task_lock('report', every='x')\ndef report(): ...\n"
    )
    with pytest.raises(JobUnusable, match="job 'report': every: 'x' is no duration - write a number of seconds"):
        handlers.load("wrong_job")
