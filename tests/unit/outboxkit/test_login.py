"""What is said of a failed session where the process that asks the server cannot do it."""

import sys
from pathlib import Path

import psycopg
import pytest

from outboxkit.login import Refusal, refusal

_NOBODY = "postgresql://u:p@127.0.0.1:1/d"  # tcpmux(1): nobody listens there


def program(place: Path, text: str) -> str:
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return str(place)


@pytest.mark.parametrize("text", [None, "exit 1", "echo; echo no number", "echo 99"])
def test_an_interpreter_that_cannot_ask_is_a_server_that_cannot_be_reached(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade that has replaced it, or at the limit of processes: whoever asks goes on."""
    python = str(tmp_path / "none") if text is None else program(tmp_path / "python", text)
    monkeypatch.setattr(sys, "executable", python)
    assert refusal(psycopg.OperationalError("connection refused"), _NOBODY) is Refusal.UNREACHABLE


def test_a_process_that_does_not_answer_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path / "python", "exec sleep 100"))
    monkeypatch.setattr("outboxkit.login._PING_SECONDS", 0.2)
    assert refusal(psycopg.OperationalError("connection refused"), _NOBODY) is Refusal.UNREACHABLE
