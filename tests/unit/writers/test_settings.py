"""The settings of `writers`; an error about one shows neither password nor token."""

import pytest

from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import load
from writers.settings import WritersSettings, host_name


@pytest.mark.parametrize(
    "url", ["postgresql://user:hunter2@host:5432/orders", "host=/run/postgresql dbname=orders password=hunter2"]
)
def test_a_url_or_a_libpq_string_names_the_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRITERS_DATABASE_URL", url)
    settings = load(WritersSettings)
    assert settings.database_url.get_secret_value() == url
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("url", ["", " "])
def test_an_empty_url_is_refused_since_libpq_would_use_its_defaults(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRITERS_DATABASE_URL", url)
    with pytest.raises(ConfigurationProblem) as caught:
        load(WritersSettings)
    assert str(caught.value) == (
        "WRITERS_DATABASE_URL is wrong: it is empty - write postgresql://user:password@host:5432/database"
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("hunter2", "it is neither a URL nor keyword=value pairs"),
        (
            "postgresql://user:hunter2@[host",
            "a character of its password must be percent-encoded: @ is %40, / is %2F",
        ),
        ("mysql://user:hunter2@host/db", "it begins with mysql://, not postgresql://"),
    ],
)
def test_a_url_that_libpq_cannot_parse_is_refused_and_not_shown(
    url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRITERS_DATABASE_URL", url)
    with pytest.raises(ConfigurationProblem) as caught:
        load(WritersSettings)
    assert str(caught.value) == (
        f"WRITERS_DATABASE_URL is wrong: {why} - write postgresql://user:password@host:5432/database"
    )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("WRITERS_DATABASE_URL", "postgresql://host/orders")
    return monkeypatch


def test_an_instance_is_called_as_its_host_unless_it_has_a_name(known: pytest.MonkeyPatch) -> None:
    assert load(WritersSettings).instance == host_name()
    known.setenv("WRITERS_INSTANCE", "writers-2.eu_west")
    assert load(WritersSettings).instance == "writers-2.eu_west"


@pytest.mark.parametrize("name", ["", "two words", "é", "a" * 41, "a\nb"])
def test_a_name_that_would_not_fit_into_a_header_or_a_session_is_refused(name: str, known: pytest.MonkeyPatch) -> None:
    known.setenv("WRITERS_INSTANCE", name)
    with pytest.raises(ConfigurationProblem, match="WRITERS_INSTANCE is wrong: it is no name of 1 to 40 letters"):
        load(WritersSettings)


@pytest.mark.parametrize("host", ["box-1", "übung.example", "x" * 60, ""])
def test_any_hosts_name_makes_the_name_of_an_instance(host: str, known: pytest.MonkeyPatch) -> None:
    known.setattr("socket.gethostname", lambda: host)
    assert load(WritersSettings).instance


def test_a_short_token_is_refused_and_a_token_is_not_shown(known: pytest.MonkeyPatch) -> None:
    known.setenv("WRITERS_TOKEN", "hunter2")
    with pytest.raises(ConfigurationProblem) as caught:
        load(WritersSettings)
    assert "at least 16 characters" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    known.setenv("WRITERS_TOKEN", "hunter2-hunter2-hunter2")
    assert "hunter2" not in repr(load(WritersSettings))


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_ADDRESS", "8080"), ("POOL_SIZE", "0"), ("POOL_WAIT", "0"), ("REQUEST_BYTES", "1"), ("GRACE", "-1")],
)
def test_a_value_out_of_range_is_refused_with_its_remedy(name: str, value: str, known: pytest.MonkeyPatch) -> None:
    known.setenv(f"WRITERS_{name}", value)
    with pytest.raises(ConfigurationProblem, match=f"WRITERS_{name} is wrong: .* - write "):
        load(WritersSettings)
