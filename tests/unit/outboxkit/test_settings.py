"""Settings: where a value comes from; an error is one line without a secret."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from pydantic import Field, SecretStr, field_validator

from outboxkit.errors import ConfigurationProblem
from outboxkit.settings import Settings, load, prefix


class Example(Settings):
    model_config = prefix("EXAMPLE_")

    url: SecretStr = Field(description="write scheme://host")
    count: int = Field(5, ge=1, description="write a number from 1 up")
    names: list[str] = Field(default_factory=list, description='write a list such as ["a", "b"]')
    mapping: dict[str, str] = Field(default_factory=dict, description="write a mapping")
    seconds: float = Field(1.0, description="write seconds")

    @field_validator("url")
    @classmethod
    def _url(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() == "nonsense":
            raise ValueError("it is no URL")
        return value


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "URL_FILE", "COUNT", "COUNT_FILE", "NAMES"):
        monkeypatch.delenv(f"EXAMPLE_{name}", raising=False)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "example.toml"
    path.write_text('url = "from://toml"\ncount = 7\n')
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("from://file\n")
    return path


def problem(config: Path | None = None) -> ConfigurationProblem:
    with pytest.raises(ConfigurationProblem) as caught:
        load(Example, config)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_toml_file_wins_over_the_default(toml: Path) -> None:
    example = load(Example, toml)
    assert (example.url.get_secret_value(), example.count, example.names) == ("from://toml", 7, [])


def test_a_secret_file_wins_over_the_toml_file(toml: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL_FILE", str(secret))
    assert load(Example, toml).url.get_secret_value() == "from://file"


def test_the_environment_wins_over_all(toml: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL_FILE", str(secret))
    monkeypatch.setenv("EXAMPLE_URL", "from://environment")
    assert load(Example, toml).url.get_secret_value() == "from://environment"


def test_only_the_last_newline_of_a_secret_file_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text(" a b \n")
    monkeypatch.setenv("EXAMPLE_URL_FILE", str(path))
    assert load(Example).url.get_secret_value() == " a b "


def test_any_setting_can_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "count"
    path.write_text("9\n")
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv("EXAMPLE_COUNT_FILE", str(path))
    assert load(Example).count == 9


def test_a_missing_value_names_its_variable_and_the_ways_to_set_it() -> None:
    assert str(problem()) == "EXAMPLE_URL is not set - set it in the environment, in EXAMPLE_URL_FILE or with --config"


@pytest.mark.parametrize("name", ["EXAMPLE_CUONT", "EXAMPLE_COUNTS", "EXAMPLE_COUNT_FIEL"])
def test_a_misspelt_name_is_an_error_that_suggests_the_nearest(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv(name, "3")
    assert str(problem()) == f"{name} is not a setting - did you mean EXAMPLE_COUNT?"


def test_a_name_that_resembles_none_is_an_error_that_lists_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv("EXAMPLE_ZZZZZZZZZZZZZZZZ", "3")
    assert problem().remedy == "known are EXAMPLE_URL, EXAMPLE_COUNT, EXAMPLE_NAMES, EXAMPLE_MAPPING, EXAMPLE_SECONDS"


def test_a_misspelt_name_in_the_toml_file_suggests_the_nearest(toml: Path) -> None:
    toml.write_text('url = "a://b"\ncuont = 3\n')
    assert str(problem(toml)) == f"{toml} sets 'cuont', which is not a setting - did you mean count?"


@pytest.mark.parametrize("line", ["EXAMPLE_COUNT = 3", "[example_count]"])
def test_a_variables_name_in_the_toml_file_suggests_the_name_to_write(line: str, toml: Path) -> None:
    toml.write_text(f"{line}\n")
    assert problem(toml).remedy == "did you mean count?"


def test_a_table_in_the_toml_file_is_the_first_error(toml: Path) -> None:
    toml.write_text('[example]\nurl = "a://hunter2"\n')
    found = problem(toml)
    assert found.what == f"{toml} sets 'example', which is not a setting"
    assert found.remedy == 'write lines such as url = "...", outside any table'


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EXAMPLES_COUNT", "EXAMPLE_COUNT"),
        ("EXAMPL_COUNT", "EXAMPLE_COUNT"),
        ("EXMAPLE_COUNT", "EXAMPLE_COUNT"),
        ("EXAMPPLE_COUNT_FILE", "EXAMPLE_COUNT_FILE"),
    ],
)
def test_a_misspelt_prefix_is_an_error_that_suggests_the_setting(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch, toml: Path
) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv(name, "hunter2")
    assert str(problem()) == f"{name} is not a setting - did you mean {meant}?"
    assert load(Example, toml).count == 7  # the setting has a value, so the variable is somebody else's
    monkeypatch.setenv("EXAMPLE_COUNT", "3")
    assert load(Example).count == 3


@pytest.mark.parametrize("name", ["EXAMPLES_COUNTS", "SAMPLE_COUNT", "EXEMPLE_COUNT", "MY_EXAMPLE_COUNT", "COUNT"])
def test_names_of_others_are_ignored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv(name, "x")
    assert load(Example).count == 5


def test_a_wrong_value_names_its_variable_and_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv("EXAMPLE_COUNT", "0")
    assert (
        str(problem())
        == "EXAMPLE_COUNT is wrong: Input should be greater than or equal to 1 - write a number from 1 up"
    )


def test_a_value_that_a_validator_refuses_has_the_validators_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "nonsense")
    assert str(problem()) == "EXAMPLE_URL is wrong: it is no URL - write scheme://host"


def test_a_list_that_is_not_json_is_an_error_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv("EXAMPLE_NAMES", "hunter2,")
    assert str(problem()) == 'EXAMPLE_NAMES is wrong: it is not JSON - write a list such as ["a", "b"]'


def test_a_list_in_a_file_that_is_not_json_is_an_error_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "names"
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv("EXAMPLE_NAMES_FILE", str(file))
    file.write_text('["hunter2", "b"]\n')
    assert load(Example).names == ["hunter2", "b"]
    file.write_text("hunter2,\n")
    assert str(problem()) == (
        'EXAMPLE_NAMES, read from EXAMPLE_NAMES_FILE, is wrong: it is not JSON - write a list such as ["a", "b"]'
    )


@pytest.mark.parametrize(
    "text", ['url = "hunter2', 'url = hunter2"', 'url = "a"\nurl = "hunter2"', 'hunter2"', "[hunter2\n"]
)
def test_bad_toml_names_the_file_and_shows_nothing_of_it(text: str, toml: Path) -> None:
    toml.write_text(text)
    found = problem(toml)
    assert found.what.startswith(f"{toml} cannot be read as TOML: ")
    assert found.remedy == 'write lines such as url = "..."'
    assert "hunter2" not in str(found)


def test_a_toml_file_that_is_not_text_or_does_not_exist_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"url = '\xff\xfe'")
    assert str(path) in problem(path).what
    missing = tmp_path / "missing.toml"
    assert problem(missing).what == f"{missing} cannot be read: No such file or directory"


def test_a_secret_file_that_cannot_be_read_names_the_variable_and_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_URL_FILE", str(tmp_path / "missing"))
    found = problem()
    assert found.what == "EXAMPLE_URL_FILE names a file that cannot be read: No such file or directory"
    assert str(tmp_path / "missing") in found.remedy


def test_an_empty_name_of_a_secret_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL_FILE", "")
    assert str(problem()) == "EXAMPLE_URL_FILE is empty - name a file that holds the value, or unset the variable"


def test_an_error_in_a_secret_file_names_the_variable_of_the_file(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.write_text("nonsense\n")
    monkeypatch.setenv("EXAMPLE_URL_FILE", str(secret))
    assert problem().what == "EXAMPLE_URL, read from EXAMPLE_URL_FILE, is wrong: it is no URL"


def test_a_secret_file_that_is_not_text_is_an_error_that_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"hunter2\xff\xfe")
    monkeypatch.setenv("EXAMPLE_URL_FILE", str(path))
    found = problem()
    assert found.what == "EXAMPLE_URL_FILE names a file that cannot be read: it is not UTF-8 text"
    assert "hunter2" not in str(found)


def test_json_with_a_key_twice_is_an_error_that_names_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = '{"a": "hunter2", "b": "c", "a": "d"}'
    file = tmp_path / "mapping"
    file.write_text(text)
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv("EXAMPLE_MAPPING_FILE", str(file))
    read = "EXAMPLE_MAPPING, read from EXAMPLE_MAPPING_FILE,"
    assert str(problem()) == f"{read} is wrong: its key 'a' is given twice - write a mapping"
    monkeypatch.setenv("EXAMPLE_MAPPING", text)
    assert str(problem()) == "EXAMPLE_MAPPING is wrong: its key 'a' is given twice - write a mapping"


def test_a_wrong_value_in_a_mapping_names_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "a://b")
    monkeypatch.setenv("EXAMPLE_MAPPING", '{"a": "b", "c": null}')
    assert str(problem()) == "EXAMPLE_MAPPING is wrong: for 'c': Input should be a valid string - write a mapping"


@pytest.mark.parametrize("line", ["count = true", "seconds = false"])
def test_a_truth_value_is_no_number(line: str, toml: Path) -> None:
    toml.write_text(f'url = "a://b"\n{line}\n')
    name, _, value = line.partition(" = ")
    assert problem(toml).what == f"{toml} sets {name!r} to {value}, which is no number"


def test_bytes_that_are_not_text_are_an_error_that_does_not_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", os.fsdecode(b"hunter2\xff"))
    assert str(problem()) == "EXAMPLE_URL is wrong: it is not UTF-8 text - write scheme://host"
    monkeypatch.setenv("EXAMPLE_URL", "höst")
    assert load(Example).url.get_secret_value() == "höst"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=strategies.from_regex(r"hunter2[ -~]*", fullmatch=True))
@pytest.mark.parametrize("name", ["EXAMPLE_COUNT", "EXAMPLE_NAMES"])
def test_no_value_ever_appears_in_a_message(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "planted://user:hunter2@host")
    monkeypatch.setenv(name, value)
    assert "hunter2" not in str(problem())


def test_secrets_do_not_appear_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLE_URL", "a://user:hunter2@host")
    assert "hunter2" not in repr(load(Example))
