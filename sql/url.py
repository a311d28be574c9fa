"""The type of a setting that names a database."""

from typing import Annotated

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, SecretStr


def _checked(url: SecretStr) -> SecretStr:
    try:
        conninfo_to_dict(url.get_secret_value())
    except ProgrammingError as error:
        raise ValueError("it is no Postgres connection string") from error
    return url


DatabaseUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""A libpq connection string or URL, kept out of every repr."""
