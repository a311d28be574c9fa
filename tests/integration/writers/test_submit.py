"""`writers submit` as a real process: it logs exactly what was committed, however it ends."""

import json
import os
import pty
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, run
from threading import Timer
from typing import IO, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sandbox import Isolated
from sandbox.machine.waiting import until

Connection = psycopg.Connection[Any]
COMMAND = [str(Path(sys.executable).with_name("writers")), "submit"]
END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'writers'"
)
DEADLINE = 120.0  # seconds; far more than any of these takes


@pytest.fixture
def database(isolated: Isolated) -> Iterator[Connection]:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        yield connection


def environment(url: str, **more: str) -> dict[str, str]:
    return os.environ | {"WRITERS_DATABASE_URL": url} | more


def submitted(url: str, *options: str, **more: str) -> CompletedProcess[str]:
    """Run `writers submit` to its end."""
    return run(
        [*COMMAND, *options],
        env=environment(url, **more),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@contextmanager
def submitting(url: str, ids: Path, *options: str) -> Iterator[tuple[Popen[str], IO[str]]]:
    """Start `writers submit` and yield it with its log. The log is a pipe, so that reading it waits for commits."""
    os.mkfifo(ids)
    log = os.open(ids, os.O_RDONLY | os.O_NONBLOCK)
    with Popen(
        [*COMMAND, "--json", "--ids", str(ids), *options], env=environment(url), stdout=PIPE, stderr=PIPE, text=True
    ) as process:
        watchdog = Timer(DEADLINE, process.kill)
        watchdog.start()
        try:
            assert select.select([log], [], [], DEADLINE)[0], "the first commit"
            os.set_blocking(log, True)
            with open(log, encoding="ascii") as lines:  # noqa: PTH123 - a descriptor, not a path
                yield process, lines
        finally:
            watchdog.cancel()
            process.kill()


def ending(process: Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Return the exit code, the summary and the text on standard error."""
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, json.loads(out), err


def some(lines: IO[str], count: int) -> list[str]:
    return [next(lines).strip() for _ in range(count)]


def rest(lines: IO[str]) -> list[str]:
    return lines.read().split()


def rows(database: Connection) -> list[str]:
    """Return the ids of all tasks, sorted, having checked that each has its event."""
    tasks = [str(task_id) for (task_id,) in database.execute("SELECT id FROM tasks.task")]
    events = [task_id for (task_id,) in database.execute("SELECT aggregate_id FROM outbox.event")]
    assert sorted(tasks) == sorted(events)
    return sorted(tasks)


def test_it_commits_as_many_as_asked_and_logs_their_ids(
    isolated: Isolated, database: Connection, tmp_path: Path
) -> None:
    ids = tmp_path / "ids"
    options = ["--count", "203", "--writers", "3", "--batch", "10", "--payload", '{"n": [1]}', "--ids", str(ids)]
    done = submitted(isolated.database_url, "--type", "send", *options)
    assert (done.returncode, done.stderr) == (0, ""), "and no progress without a terminal"
    assert done.stdout.startswith("203 tasks committed in ")
    assert sorted(ids.read_text().split()) == rows(database)
    assert database.execute("SELECT DISTINCT type, payload, status FROM tasks.task").fetchall() == [
        ("send", {"n": [1]}, "pending")
    ]
    sizes = database.execute("SELECT count(*) FROM outbox.event GROUP BY tx ORDER BY 1").fetchall()
    assert sizes == [(3,)] + [(10,)] * 20


def test_json_has_the_same_numbers_and_the_rate_is_kept(isolated: Isolated) -> None:
    options = ["--count", "30", "--batch", "10", "--rate", "100", "--writers", "2", "--json"]
    done = submitted(isolated.database_url, "--type", "send", *options)
    summary = json.loads(done.stdout)
    assert (done.returncode, done.stderr, summary["committed"], summary["unknown"]) == (0, "", 30, 0)
    assert summary["seconds"] >= 0.2
    assert summary["per_second"] == pytest.approx(30 / summary["seconds"], rel=0.05)


def test_a_terminal_sees_the_progress(isolated: Isolated) -> None:
    ours, theirs = pty.openpty()
    options = ["--type", "send", "--count", "50"]
    with Popen(
        [*COMMAND, *options], env=environment(isolated.database_url, TERM="xterm"), stdout=PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: read_terminal(ours), b""))
    os.close(ours)
    assert process.returncode == 0
    assert b"50/50" in shown


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the other end was closed
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_after_it_has_logged_all_that_was_committed(
    number: signal.Signals, isolated: Isolated, database: Connection, tmp_path: Path
) -> None:
    options = ["--type", "send", "--count", "1000000", "--writers", "4", "--batch", "7"]
    with submitting(isolated.database_url, tmp_path / "ids", *options) as (process, lines):
        logged = some(lines, 200)
        process.send_signal(number)
        logged += rest(lines)
        code, summary, err = ending(process)
    assert (code, err) == (128 + number, "")
    assert summary["committed"] == len(logged)
    assert sorted(logged) == rows(database)


def test_lost_connections_lose_no_task_and_double_none(
    isolated: Isolated, database: Connection, tmp_path: Path
) -> None:
    # More than is read below and fits into the pipe: the writers are not done when the last connections are ended.
    options = ["--type", "send", "--count", "4500", "--writers", "4", "--batch", "3"]
    with submitting(isolated.database_url, tmp_path / "ids", *options) as (process, lines):
        logged: list[str] = []
        for _ in range(5):
            logged += some(lines, 400)
            until(lambda: database.execute(END).rowcount > 0, what="the writers' connections are ended", seconds=30)
        logged += rest(lines)
        code, summary, err = ending(process)
    assert (code, err) == (0, "")
    assert (summary["committed"], summary["unknown"]) == (4500, 0)
    assert sorted(logged) == rows(database)
    assert len(logged) == 4500


def test_a_final_failure_still_prints_and_logs_what_was_committed(
    isolated: Isolated, database: Connection, tmp_path: Path
) -> None:
    """The schema is renamed: trying again does not help."""
    options = ["--type", "send", "--count", "1000000", "--writers", "4"]
    with submitting(isolated.database_url, tmp_path / "ids", *options) as (process, lines):
        logged = some(lines, 100)
        database.execute("ALTER SCHEMA tasks RENAME TO gone")
        logged += rest(lines)
        code, summary, err = ending(process)
    database.execute("ALTER SCHEMA gone RENAME TO tasks")
    assert code == 1
    assert err.startswith("writers: the database has no outbox for this version")
    assert err.endswith("run `relay setup`\n")
    assert err.count("\n") == 1
    assert summary["committed"] == len(logged)
    assert sorted(logged) == rows(database)


class TestWrong:
    def only_line(self, done: CompletedProcess[str]) -> str:
        """Return the line on standard error, having checked that there is no other output and no secret in it."""
        assert done.stdout == ""
        assert done.stderr.startswith("writers: ")
        assert done.stderr.count("\n") == 1
        assert "hunter2" not in done.stderr
        return done.stderr

    def test_a_closed_port(self) -> None:
        done = submitted("postgresql://user:hunter2@127.0.0.1:1/db", "--type", "send")
        assert "Postgres cannot be reached" in self.only_line(done)
        assert "check that it runs and that WRITERS_DATABASE_URL names it" in done.stderr
        assert done.returncode == 1

    def test_a_user_that_does_not_exist(self, isolated: Isolated) -> None:
        done = submitted(make_conninfo(isolated.database_url, user="nobody", password="hunter2"), "--type", "send")
        assert "FATAL" in self.only_line(done)
        assert '"nobody"' in done.stderr
        assert done.returncode == 1

    def test_a_database_without_the_schema(self, isolated: Isolated, database: Connection) -> None:
        database.execute("DROP SCHEMA outbox, tasks CASCADE")
        done = submitted(isolated.database_url, "--type", "send")
        assert self.only_line(done).endswith("- run `relay setup`\n")
        assert done.returncode == 1

    def test_a_task_that_the_database_refuses(self, isolated: Isolated) -> None:
        done = submitted(isolated.database_url, "--type", "")
        assert "type must not be empty" in self.only_line(done)
        assert done.returncode == 1

    @pytest.mark.parametrize(
        ("options", "more", "line"),
        [
            ([], {"WRITERS_DATABASE_ULR": "hunter2"}, "not a setting - did you mean WRITERS_DATABASE_URL?"),
            (["--ids", "/"], {}, "/ cannot be opened for the ids: Is a directory"),
        ],
    )
    def test_a_setting_or_an_option(self, options: list[str], more: dict[str, str], line: str) -> None:
        done = submitted("postgresql://user:hunter2@127.0.0.1:1/db", "--type", "send", *options, **more)
        assert line in self.only_line(done)
        assert done.returncode == 2

    def test_usage(self) -> None:
        done = submitted("postgresql://127.0.0.1:1/db", "--type", "send", "--payload", "{")
        assert done.returncode == 2
        assert "--payload" in done.stderr
        assert "not JSON" in done.stderr
