"""The URLs of both servers: a password is read whole, or refused without any part of it in the error."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
        "postgresql:///shop?host=@abstract&connect_timeout=5",
        "postgresql://",
        "postgresql://db.example?ssl=true",
        "postgresql://db.example/shop?options=-c%20statement_timeout%3D5s&keepalives=0&tcp_user_timeout=-1",
        "host=db.example dbname=a@b password=Kx4@",
        "host = db.example  options='-c statement_timeout=5s' sslmode=verify-full",
        "dbname=postgresql://db.example/shop",
        "service=shop",
    ],
)
def test_what_is_written_right_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, "RELAY_DATABASE_URL", url) == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("'postgresql://u:Kx4@h/d'", "quotation mark"),
        ('postgresql://u:Kx4@h/d"', "quotation mark"),
        ("postgresql://u:Kx4@h/d\r", "white space"),
        (" postgresql://u:Kx4@h/d", "white space"),
        ("postgresql://u:Kx4@h/d?options=-c statement_timeout=5s", "white space: remove it, or write it as %20"),
        ("mysql://u:Kx4@h/d", "it begins with mysql://, not postgresql://"),
        ("postgresql+asyncpg://u:Kx4@h/d", "postgresql+asyncpg://, not postgresql:// (the + and what follows"),
        ("jdbc:postgresql://h/d?user=u&password=Kx4", "it begins with jdbc:postgresql://"),
        ("u:Kx4@h://", "its scheme is not postgresql://"),
        ("postgresql://u:Kx4@h:0/d", "a port is not a number from 1 to 65535"),
        ("postgresql://u:Kx4@h:70000/d", "a port is not a number from 1 to 65535"),
        ("postgresql://u:Kx4@h1:1,h2:2,h3:3/d?port=5,6", "it has 3 hosts and 2 ports"),
        ("postgresql://u:Kx4%@h/d", "a % is not followed by two hexadecimal digits"),
        ("postgresql://u:Kx4%00@h/d", "a % is not followed"),
        ("postgresql://u:Kx4@h/d?conect_timeout=5", "'conect_timeout' is unknown; did you mean connect_timeout?"),
        ("postgresql://u:Kx4@h/d?pool_size=5", "'pool_size' is unknown; known are those of libpq"),
        ("postgresql://u:Kx4@h/d?pool_size@=Kx4", "percent-encoded"),
        ("postgresql://u:Kx4@h/d?sslmode=require&sslmode=disable", "its parameter sslmode is given twice"),
        ("postgresql://u:Kx4@h/d?sslmode", "its parameter sslmode has no value"),
        ("postgresql://u:Kx4@h/d?sslmode=Kx4", "its parameter sslmode is none of disable, allow, prefer, require"),
        ("postgresql://u:Kx4@h/d?target_session_attrs=rw", "its parameter target_session_attrs is none of any,"),
        ("postgresql://u:Kx4@h/d?connect_timeout=5s", "its parameter connect_timeout is not a number"),
        ("postgresql://u:Kx4@h/d?replication=database", "its parameter replication is set where it is needed"),
        ("db.example", "it is neither a URL nor keyword=value pairs"),
        ("host=h pasword=Kx4", "'pasword' is unknown; did you mean password?"),
        ("host=h pool=5", "it has an unknown keyword"),
        ("Kx4hint==", "it has an unknown keyword"),
        ("host=h password=Kx4 Kx4hint=5", "a value with a space that is not in single quotes"),
        ("host=h password=a Kx4", "a value with a space that is not in single quotes"),
        ("host=h password='Kx4", "it has an unknown keyword, or a value"),
        ("host=h port=pg password=Kx4", "a port is not a number"),
        ("host=h host=g password=Kx4", "its parameter host is given twice"),
    ],
)
def test_what_postgres_cannot_be_told_is_named_without_a_value(
    url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refusal(monkeypatch, "RELAY_DATABASE_URL", url)
    assert why in refused
    assert "Kx4" not in refused


@given(noise=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("form", ["postgresql://relay:{}@db.example/shop", "host=db.example password={} dbname=shop"])
def test_no_part_of_a_password_is_ever_shown(noise: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Kx4" not in refusal(monkeypatch, "RELAY_DATABASE_URL", form.format(f"Kx4Vorn{noise}Kx4Hint"))
