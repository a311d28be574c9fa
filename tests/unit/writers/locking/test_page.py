"""docs/locking.md quotes two real runs. Its words are those that the demo prints now."""

import re
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from tests.unit.docs.markdown import ROOT
from writers.locking.client import Result, Taken, Task
from writers.locking.grabbing import Look, Plan, Run
from writers.locking.observing import observe
from writers.locking.report import Report

PAGE = (ROOT / "docs" / "locking.md").read_text(encoding="utf-8")
_NAMES = ("writers-1", "writers-2", "writers-3")
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _task(number: int, *, completed: bool) -> Task:
    return Task(
        id=f"{number:08}-0000-0000-0000-000000000000",
        status="completed" if completed else "pending",
        attempts=int(completed),
        created_at=_NOON + timedelta(seconds=number),
        result=Result(grabbed_by=_NAMES[number % 3]) if completed else None,
    )


def _run(*, skip_locked: bool) -> Run:
    """Return a run of the same size as that of the page."""
    plan = Plan(tasks=30, requests=15, seconds=2, skip_locked=skip_locked)
    made = tuple(_task(number, completed=False) for number in range(1, 31))
    took = [2.0 if skip_locked else 2.0 * number for number in range(1, 16)]
    taken = [Taken(made[n].id, n + 1, _NAMES[(n + 1) % 3], took[n]) for n in range(15)]
    left = tuple(_task(number, completed=number <= 15) for number in range(1, 31))
    looks = (Look(15 if skip_locked else 1, frozenset(_NAMES)),)
    return Run(plan, made, tuple(taken), max(took) + 0.2, looks, left)


def _printed(run: Run) -> str:
    text = StringIO()
    report = Report(Console(file=text, width=80))
    report.begin("http://127.0.0.1:1", run.plan)
    for outcome in run.outcomes:
        report.ended(outcome)
    report.show(run, observe(run, instances=3))
    return text.getvalue()


def _form(text: str) -> list[str]:
    """Return the lines of `text` without what differs from run to run: numbers with a point, ids, the port."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}  writers-\d", "ID", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "PLACE", text)
    text = re.sub(r" *\d+\.\d+", " N", text)
    return [re.sub(r"[ ─]+", " ", line).strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("skip_locked", [True, False], ids=["with", "without"])
def test_the_page_shows_a_run_as_it_is_printed(*, skip_locked: bool) -> None:
    block = "FOR UPDATE SKIP LOCKED" if skip_locked else "FOR UPDATE, without SKIP LOCKED"
    (quoted,) = re.findall(rf"^```\n({block}\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert sorted(_form(quoted)) == sorted(_form(_printed(_run(skip_locked=skip_locked))))


def test_the_page_compares_what_the_report_compares() -> None:
    text = StringIO()
    Report(Console(file=text, width=80)).compare(_run(skip_locked=True), _run(skip_locked=False))
    (quoted,) = re.findall(r"^```\n(┏.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert [line.replace("━", "") for line in _form(quoted)] == [
        line.replace("━", "") for line in _form(text.getvalue())
    ]
