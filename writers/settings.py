"""The writers' settings, read from the environment or a TOML file by runtime.settings."""

from typing import Annotated

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr

from runtime.settings import Settings, prefix


def _conninfo(url: SecretStr) -> SecretStr:
    """Refuse what libpq cannot parse; its own words may quote the password."""
    try:
        conninfo_to_dict(url.get_secret_value())
    except ProgrammingError as error:
        raise ValueError("it is no Postgres connection string") from error
    return url


class WritersSettings(Settings):
    """What `writers` needs to know."""

    model_config = prefix("WRITERS_")

    database_url: Annotated[
        SecretStr,
        AfterValidator(_conninfo),
        Field(description="write postgresql://user:password@host:5432/database"),
    ]
