"""How a bug ends a process."""

import io
import json
import sys

import pytest

from outboxkit.errors import Problem
from outboxkit.process import logs


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what takes the log lines, as standard error does in a process."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    logs.configure()
    return out


def test_a_bug_is_one_line_with_its_reason_and_traceback_and_exit_code_1(written: io.StringIO) -> None:
    with pytest.raises(SystemExit) as ended, logs.bugs():
        raise ValueError("an event was settled that is not in flight")
    line = json.loads(written.getvalue())
    assert ended.value.code == 1
    assert line["event"] == "bug"
    assert line["reason"] == "ValueError: an event was settled that is not in flight"
    assert "Traceback" in line["exception"]


def test_a_problem_is_left_to_the_command() -> None:
    with pytest.raises(Problem, match="not reachable"), logs.bugs():
        raise Problem("not reachable", remedy="start it")
