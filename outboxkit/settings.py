"""Settings from the environment, secret files and a TOML file. No other module reads the environment.

Precedence: environment, then `<NAME>_FILE` (the path of a file with the value, for secrets), then the TOML file, then
the default. A variable that starts with the prefix and is not a setting is an error that suggests the nearest name, and
so is a setting's name whose prefix is misspelt: a misspelt setting must not be ignored.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from outboxkit.errors import ConfigurationProblem


class Settings(BaseSettings):
    """Base of every settings class; a subclass names its prefix: `model_config = prefix("RELAY_")`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put secret files between the environment and the TOML file, which `load` passes as init values."""
        del env_settings, dotenv_settings, file_secret_settings
        return _Environment(settings_cls), _SecretFiles(settings_cls), init_settings


class _RepeatedKeyError(ValueError):
    """JSON with the same key twice: Python's parser would take the last one."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise _RepeatedKeyError(f"its key {name!r} is given twice")
        values[name] = value
    return values


def _not_json(error: BaseException | None) -> str:
    return str(error) if isinstance(error, _RepeatedKeyError) else "it is not JSON"


class _Json(PydanticBaseSettingsSource):
    """Reads a list or a mapping from JSON."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ANN401 - pydantic's
        del field_name, field
        return json.loads(value, object_pairs_hook=_object)


class _Environment(_Json, EnvSettingsSource):
    """Reads `<PREFIX><NAME>`."""


class _SecretFiles(_Json):
    """Reads `<PREFIX><NAME>_FILE`: the path of a file with the value; its last newline is removed."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{self.config.get('env_prefix', '')}{field_name}".upper() + "_FILE"
        path = os.environ.get(variable)
        if path is None:
            return None, field_name, False
        if not path:
            raise ConfigurationProblem(
                f"{variable} is empty", remedy="name a file that holds the value, or unset the variable"
            )
        try:
            value: Any = Path(path).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigurationProblem(
                f"{variable} names a file that cannot be read: {reason}",
                remedy=f"make {path} readable for this process, or set the value itself",
            ) from error
        if self.field_is_complex(field):  # a list or a mapping, as JSON
            try:
                value = self.decode_complex_value(field_name, field, value)
            except ValueError as error:
                what = f"{variable.removesuffix('_FILE')}, read from {variable}, is wrong: {_not_json(error)}"
                raise ConfigurationProblem(what, remedy=field.description or "see --help") from error
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


# Kubernetes sets these in every container for a Service whose name is our prefix
# (https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables).
_SERVICE_LINK = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")

S = TypeVar("S", bound=Settings)


def prefix(name: str) -> SettingsConfigDict:
    """Return the model configuration of a settings class whose variables start with `name`."""
    return SettingsConfigDict(env_prefix=name)


def load(settings: type[S], config: Path | None = None) -> S:
    """Read `settings` from the environment and, below it, from the TOML file `config`.

    Raises ConfigurationProblem, one line that names the variable, for a missing or wrong value, an unknown name or an
    unreadable file. It never contains a value, which may be a secret.
    """
    variables = _variables(settings)
    _refuse_unknown(settings, variables)
    values = _toml(settings, config)
    _refuse_misspelt_prefix(settings, variables, set_elsewhere=values)
    _refuse_bytes(settings, variables)
    try:
        return settings(**values)
    except SettingsError as error:  # only its text names the field
        named = (known for known in variables.items() if f'"{known[1]}"' in str(error))
        name, field = next(named, ("a setting", ""))
        what = f"{name} is wrong: {_not_json(error.__cause__)}"
        raise ConfigurationProblem(what, remedy=_description(settings, field)) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        name = next((variable for variable, known in variables.items() if known == field), field)
        if first["type"] == "missing":
            raise ConfigurationProblem(
                f"{name} is not set", remedy=f"set it in the environment, in {name}_FILE or with --config"
            ) from error
        message = first["msg"].removeprefix("Value error, ")
        if not field:  # a validator of several settings says what is wrong, then what to do
            what, _, remedy = message.partition("; ")
            raise ConfigurationProblem(what, remedy=remedy) from error
        if len(first["loc"]) > 1 and isinstance(first["loc"][1], str):
            message = f"for {first['loc'][1]!r}: {message}"
        source = f", read from {name}_FILE," if name not in os.environ and f"{name}_FILE" in os.environ else ""
        raise ConfigurationProblem(
            f"{name}{source} is wrong: {message}", remedy=_description(settings, field)
        ) from error


def reloading(settings: type[S], config: Path | None = None) -> Callable[[], S]:
    """Return a function that reads `settings` again at each call, so that a changed secret file is used.

    The first reading raises what `load` raises. Later, when they cannot be read, the last valid settings are returned.
    """
    known = [load(settings, config)]

    def fresh() -> S:
        with suppress(ConfigurationProblem):
            known[0] = load(settings, config)
        return known[0]

    return fresh


def named(settings: Settings, variable: str) -> str | None:
    """Return the field of `settings` that `variable` sets, or None if it sets none."""
    return _variables(type(settings)).get(variable)


def variable(name: str) -> str | None:
    """Return the environment variable `name`, which is the application's own and not a setting of ours."""
    return os.environ.get(name)


def _variables(settings: type[Settings]) -> dict[str, str]:
    start = settings.model_config.get("env_prefix", "")
    return {f"{start}{name}".upper(): name for name in settings.model_fields}


def _refuse_unknown(settings: type[Settings], variables: dict[str, str]) -> None:
    start = settings.model_config.get("env_prefix", "")
    for name in sorted(os.environ):
        if _SERVICE_LINK.fullmatch(name.removeprefix(start)):
            continue
        if name.startswith(start) and name.removesuffix("_FILE") not in variables:
            raise ConfigurationProblem(f"{name} is not a setting", remedy=_nearest(name, variables))


def _refuse_misspelt_prefix(
    settings: type[Settings], variables: dict[str, str], *, set_elsewhere: Collection[str]
) -> None:
    """Refuse the name of a setting under a prefix that is almost ours, unless that setting has a value."""
    start = settings.model_config.get("env_prefix", "")
    almost = {f"{slip}_" for slip in _slips(start.removesuffix("_"))} - {start}
    for known, field in variables.items():
        if field in set_elsewhere or {known, f"{known}_FILE"} & os.environ.keys():
            continue
        for meant in (known, f"{known}_FILE"):
            for name in sorted(prefix + meant.removeprefix(start) for prefix in almost):
                if name in os.environ:
                    raise ConfigurationProblem(f"{name} is not a setting", remedy=f"did you mean {meant}?")


def _slips(word: str) -> Iterator[str]:
    """Yield `word` in the plural, and with a letter left out, doubled, or swapped with the next."""
    yield f"{word}S"
    for at, letter in enumerate(word):
        before, after = word[:at], word[at + 1 :]
        yield from (before + after, before + letter * 2 + after, before + after[:1] + letter + after[1:])


def _refuse_bytes(settings: type[Settings], variables: dict[str, str]) -> None:
    """Refuse what is not UTF-8: Python keeps such bytes of the environment as text that nobody can encode."""
    for name, field in variables.items():
        if not os.environ.get(name, "").isascii() and re.search("[\ud800-\udfff]", os.environ[name]):
            raise ConfigurationProblem(f"{name} is wrong: it is not UTF-8 text", remedy=_description(settings, field))


def _toml(settings: type[Settings], config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    example = f'lines such as {next(iter(settings.model_fields))} = "..."'
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationProblem(
            f"{config} cannot be read: {error.strerror}", remedy="name another file with --config, or leave it out"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationProblem(f"{config} cannot be read as TOML: {error}", remedy=f"write {example}") from error
    for name, value in values.items():
        if name not in settings.model_fields:
            key = _variables(settings).get(name.upper(), name)  # it may be a variable's name
            nested = isinstance(value, dict) and key == name
            raise ConfigurationProblem(
                f"{config} sets {name!r}, which is not a setting",
                remedy=f"write {example}, outside any table" if nested else _nearest(key, settings.model_fields),
            )
        if isinstance(value, bool) and settings.model_fields[name].annotation in {int, float}:  # pydantic reads 0 or 1
            raise ConfigurationProblem(
                f"{config} sets {name!r} to {str(value).lower()}, which is no number",
                remedy=_description(settings, name),
            )
    return values


def _nearest(name: str, known: Any) -> str:  # noqa: ANN401 - any collection of names
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def _description(settings: type[Settings], field: str) -> str:
    info = settings.model_fields.get(field)
    return (info.description if info else None) or "see --help"
