"""Which back end the settings select, and the errors for wrong settings and missing packages."""

import gc
from pathlib import Path

import pytest

from outboxkit.errors import ConfigurationProblem
from sandbox.machine import packages, programs
from sandbox.servers import choice, containers
from sandbox.servers.named import Named
from sandbox.settings import read

DATABASE_URL = "postgresql://user:s3cret@db.example/app"
AMQP_URL = "amqp://user:s3cret@mq.example/%2F"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SANDBOX", "SANDBOX_DATABASE_URL", "SANDBOX_AMQP_URL"):
        monkeypatch.delenv(name, raising=False)


def test_without_settings_the_choice_is_auto() -> None:
    assert read().choice == "auto"


def test_named_servers_are_selected_when_both_urls_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_DATABASE_URL", DATABASE_URL)
    monkeypatch.setenv("SANDBOX_AMQP_URL", AMQP_URL)
    kind, backend = choice.choose(read())
    assert kind == "named"
    assert isinstance(backend, Named)


def test_an_explicit_choice_wins_over_named_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX", "local")
    monkeypatch.setenv("SANDBOX_DATABASE_URL", DATABASE_URL)
    monkeypatch.setenv("SANDBOX_AMQP_URL", AMQP_URL)
    assert choice.choose(read())[0] == "local"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SANDBOX", "podman", "SANDBOX is wrong: Input should be 'auto', 'docker' or 'local'"),
        ("SANDBOX_DATABASE_URL", DATABASE_URL, "SANDBOX_AMQP_URL is missing - named servers need both URLs"),
        ("SANDBOX_AMQP_URL", AMQP_URL, "SANDBOX_DATABASE_URL is missing - named servers need both URLs"),
        ("SANDBOX_DATABSE_URL", DATABASE_URL, "did you mean SANDBOX_DATABASE_URL?"),
    ],
)
def test_a_wrong_setting_is_reported_in_one_line_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationProblem) as raised:
        read()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_missing_packages_that_cannot_be_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "fedora"})
    monkeypatch.setattr(programs, "rabbitmq", lambda: None)
    monkeypatch.setattr(programs, "postgres", lambda: programs.Postgres(Path("/bin"), 17, has_wal2json=False))
    with pytest.raises(packages.Missing) as raised:
        packages.require()
    assert "wal2json for PostgreSQL 17, RabbitMQ are not installed" in str(raised.value)
    assert "apt-get install postgresql-17 postgresql-17-wal2json rabbitmq-server" in str(raised.value)


def test_an_engine_that_has_ended_is_not_usable_and_its_socket_is_not_left_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert not containers.usable()
    gc.collect()  # pytest fails the test by a socket that is found open
