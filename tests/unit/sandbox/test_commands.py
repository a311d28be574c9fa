"""The environment of the commands that the demo and the benchmarks run."""

import pytest

from sandbox.machine import commands


def test_a_command_gets_its_own_settings_and_none_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RELAY_SLOT", "CONSUMERS_QUEUE", "WRITERS_INSTANCE", "SANDBOX", "SANDBOX_AMQP_URL"):
        monkeypatch.setenv(name, "the user's")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = commands.environment({"RELAY_SLOT": "ours"})
    assert environment["LANG"] == "C.UTF-8"
    assert environment["RELAY_SLOT"] == "ours"
    assert "the user's" not in environment.values()
