"""A service that waits for a server when it is told to stop ends in order, at once."""

import signal
import socket
from pathlib import Path

import pytest

from tests.support.commands import Command

SETTINGS = {
    "RELAY_AMQP_URL": "amqp://u:p@127.0.0.1:1",
    "CONSUMERS_AMQP_URL": "amqp://u:p@127.0.0.1:1",
    "CONSUMERS_HANDLERS": "tests.support.handlers",
}


@pytest.mark.parametrize(("name", "command"), [("relay", "run"), ("consumers", "run"), ("writers", "serve")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_postgres_does_not_answer_ends_with_0_and_one_line(
    name: str, command: str, number: signal.Signals, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d"
        settings = {**SETTINGS, f"{name.upper()}_DATABASE_URL": url}
        service = Command(name, [name, command], settings, tmp_path)
        try:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                service.process.send_signal(number)
                assert service.ended() == 0, service.tail()
            assert [line["event"] for line in service.log] == ["stopped"]
            assert len(service.stderr.splitlines()) == 1
        finally:
            service.end()
