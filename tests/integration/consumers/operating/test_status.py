"""`consumers status`: what it counts exactly, what it estimates, and that it reads no large table as a whole."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from consumers.operating.status.document import Status
from consumers.operating.status.gathering import gather
from consumers.settings import ConsumerSettings
from outboxkit.settings import load
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.consumers.stage import Stage


@pytest.fixture
def stage(isolated: Isolated, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(isolated, tmp_path, stack)


def fill(stage: Stage, status: str, count: int, *, type_: str = "t") -> None:
    """Insert tasks in any state, as a copy of a table would."""
    lease = status in {"running", "cancelling"}
    stage.database.execute("ALTER TABLE tasks.task DISABLE TRIGGER USER")
    stage.database.execute(
        "INSERT INTO tasks.task (type, status, run_at, lease_until, claimed_by, updated_at)"
        " SELECT %s, %s, clock_timestamp() + interval '1 h', CASE WHEN %s THEN clock_timestamp() + interval '20 s' END,"
        " CASE WHEN %s THEN 'worker' END, clock_timestamp() - n * interval '1 ms' FROM generate_series(1, %s) AS n",
        [type_, status, lease, lease, count],
    )
    stage.database.execute("ALTER TABLE tasks.task ENABLE TRIGGER USER")


def gathered(stage: Stage, monkeypatch: pytest.MonkeyPatch, *, small: int, most: int) -> Status:
    for name, value in stage.settings.items():
        monkeypatch.setenv(name, value)
    return asyncio.run(gather(load(ConsumerSettings, None), small=small, most=most))


def test_a_small_table_is_counted_and_what_matters_is_shown(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for status, count in (("pending", 3), ("running", 12), ("scheduled", 2), ("completed", 40), ("dead", 1)):
        fill(stage, status, count)
    fill(stage, "dead", 2, type_="mail")
    found = gathered(stage, monkeypatch, small=2**20, most=20)
    assert found.counted.tasks == {"pending": 3, "running": 12, "scheduled": 2, "completed": 40, "dead": 3}
    assert found.counted.estimated == []
    assert found.counted.types["dead"] == {"mail": 2, "t": 1}
    assert found.oldest_pending is not None
    assert 0 < found.oldest_pending.seconds < 60
    assert len(found.running) == 10
    assert [each.seconds for each in found.running] == sorted((each.seconds for each in found.running), reverse=True)
    assert all(0 < each.lease_seconds <= 20 and each.claimed_by == "worker" for each in found.running)
    assert found.due_next is not None
    assert 3500 < found.due_next.seconds <= 3600
    assert found.completed_per_minute >= 40 * 60 / 60

    table = stage.command("status")
    assert table.ended() == 3, "nobody reads the queue"
    assert "and 2 more" in table.stdout
    assert "3 (2 mail, 1 t)" in table.stdout
    assert "per minute" in table.stdout


def test_a_large_table_is_estimated_and_never_read_as_a_whole(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(stage, "completed", 20_000)
    fill(stage, "pending", 500)
    fill(stage, "running", 5)
    stage.database.execute("ANALYZE tasks.task")
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = 'tasks' AND relname = 'task'"
    before = stage.database.execute(scans).fetchall()
    found = gathered(stage, monkeypatch, small=1024, most=100)
    assert stage.database.execute(scans).fetchall() == before
    assert found.counted.tasks["running"] == 5
    assert found.counted.estimated == ["completed", "pending"]
    assert 19_000 < found.counted.tasks["completed"] < 21_000
    assert 100 <= found.counted.tasks["pending"] < 1000
    assert found.counted.types["pending"] == {"t": 100}
    assert "scheduled" not in found.counted.tasks


def test_watching_prints_one_document_a_line_and_ends_by_ctrl_c_with_0(stage: Stage) -> None:
    fill(stage, "pending", 1)
    command = stage.command("status", "--json", "--watch", "--every", "0.2")
    until(lambda: command.stdout.count("\n") >= 3, what="three answers", seconds=30)
    command.process.send_signal(signal.SIGINT)
    assert command.ended() == 0, command.stderr
    for line in command.stdout.splitlines():
        assert json.loads(line)["tasks"] == {"pending": 1}
    assert command.stderr == ""
