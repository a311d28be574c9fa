"""The one setting of `writers`; an error about it does not show the password."""

import pytest

from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import load
from writers.settings import WritersSettings


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
