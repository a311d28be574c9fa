"""The type of a setting with the URL of a database."""

from collections.abc import Mapping
from typing import Annotated

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, SecretStr


def _checked(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not text.strip():  # libpq would use its defaults and the PG* variables
        raise ValueError("it is empty")
    try:
        values = conninfo_to_dict(text)
    except ProgrammingError as error:
        raise ValueError("it is not a Postgres connection string") from error
    if "://" in text and _misread(text, values):
        raise ValueError("a character of its password must be percent-encoded: @ is %40, / is %2F")
    return url


def _misread(text: str, values: Mapping[str, object]) -> bool:
    """Return whether libpq takes a part of the password for host, port or database, and would show it in errors.

    It ends the password at the first @, and looks for it only before the first /
    (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS).
    """
    hosts, ports, database = (str(values.get(name) or "") for name in ("host", "port", "dbname"))
    return (
        any("@" in host[1:] for host in hosts.split(","))  # an @ in front names an abstract socket
        or not all(port.isdigit() for port in ports.split(",") if port)
        or ("@" in database and f"/{database}" in text)
    )


DatabaseUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""A libpq connection string or URL, kept out of every repr."""
