"""The URLs of both servers: a password is read whole, or refused without any part of it in the error."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from outboxkit.amqp.url import nodes
from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import load, reloading
from relay.settings import RelaySettings

FIRST, LAST = "Kx4Vorn", "Kx4Hint"
PASSWORDS = (
    *(f"{FIRST}{each}{LAST}" for each in "@/?#%[]: ü&="),
    *(f"12{each}{LAST}" for each in "/?#@"),
    f"{FIRST}/12@{LAST}",
    f"{FIRST}@12/{LAST}",
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", "postgresql://relay@db.example/shop")
    monkeypatch.setenv("RELAY_AMQP_URL", "amqps://relay:right@mq.example/shop")


def refusal(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> str:
    """Return how `url` is refused; empty if it is taken."""
    monkeypatch.setenv(name, url)
    try:
        load(RelaySettings)
    except ConfigurationProblem as problem:
        return str(problem)
    return ""


@pytest.mark.parametrize("password", PASSWORDS)
def test_of_postgres(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://relay:{password}@db.example:5432/shop?sslmode=require"
    refused = refusal(monkeypatch, "RELAY_DATABASE_URL", url)
    assert not [piece for piece in (FIRST, LAST) if piece in refused]
    if not refused:
        read = conninfo_to_dict(url)
        assert (read["user"], read["password"]) == ("relay", password)
        assert (read["host"], read["port"], read["dbname"]) == ("db.example", "5432", "shop")


@pytest.mark.parametrize("password", PASSWORDS)
def test_of_rabbitmq(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"amqps://relay:{password}@mq.example:5671/shop"
    refused = refusal(monkeypatch, "RELAY_AMQP_URL", url)
    assert not [piece for piece in (FIRST, LAST) if piece in refused]
    if not refused:
        (read,) = nodes(url)
        assert (read.user, read.password) == ("relay", password)
        assert (read.host, read.port, read.virtual_host) == ("mq.example", 5671, "shop")


@pytest.mark.parametrize("name", ["RELAY_DATABASE_URL", "RELAY_AMQP_URL"])
def test_an_empty_one_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"{name} is wrong: " in refusal(monkeypatch, name, "")


def test_a_file_that_is_emptied_before_it_is_written_anew_leaves_the_last_one_standing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("postgresql://relay@db.example/shop")
    monkeypatch.delenv("RELAY_DATABASE_URL")
    monkeypatch.setenv("RELAY_DATABASE_URL_FILE", str(secret))
    fresh = reloading(RelaySettings)
    secret.write_text("")
    assert fresh().database_url.get_secret_value() == "postgresql://relay@db.example/shop"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://relay:Kx4%40%2F@db.example:5432/shop",
        "postgresql://relay@a.example:5432,b.example:5433/sh%40p?application_name=a@b",
        "postgresql:///shop?host=@abstract",
        "postgresql://[::1]/shop",
        "host=db.example dbname=a@b password=Kx4@",
    ],
)
def test_what_is_written_right_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, "RELAY_DATABASE_URL", url) == ""
