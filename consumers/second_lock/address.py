"""The URL of Redis: `redis://user:password@host:6379/0`, `rediss://` for TLS. Pure; no error contains a value.

redis-py ignores what it does not understand in a URL (a database that is no number, an unknown parameter), so the URL
is read here. https://www.iana.org/assignments/uri-schemes/prov/redis
"""

import re
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, SecretStr

EXAMPLE = "write redis://user:password@host:6379/0, or rediss:// for TLS"
_CA = "ssl_ca_certs"
_PORT = 6379
_ENCODE = "a character of its password must be percent-encoded: @ is %40, / is %2F, ? is %3F, # is %23"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and who logs in; `ca` is the path of a PEM of certificate authorities."""

    host: str
    port: int
    database: int
    tls: bool
    ca: str | None
    user: str | None
    password: str | None = field(repr=False)


def read(url: str) -> RedisAddress:
    """Read a URL; raises ValueError that says what is wrong with it."""
    if any(character.isspace() for character in url) or url[:1] in {"'", '"'}:
        raise ValueError("it contains white space, or has a quotation mark around it: remove it")
    if re.search("%(?![0-9A-Fa-f]{2})", url):
        raise ValueError("a % is not followed by two hexadecimal digits: % itself is written %25")
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in {"redis", "rediss"}:
        raise ValueError("it does not begin with redis:// or rediss://")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORT
    except ValueError as error:  # its text contains values
        raise ValueError(_ENCODE if "@" in url else "its host or port cannot be read") from error
    if parts.fragment or "@" in parts.path + parts.query:
        raise ValueError(_ENCODE)
    if not host or "," in host:
        raise ValueError("it does not name one host: Sentinel and Cluster are not supported")
    if re.fullmatch(r"/?|/[0-9]{1,5}", parts.path) is None:
        raise ValueError("its path is not the number of a database")
    return RedisAddress(
        host,
        port,
        int(parts.path.strip("/") or 0),
        scheme == "rediss",
        _ca(parts.query, tls=scheme == "rediss"),
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
    )


def _ca(query: str, *, tls: bool) -> str | None:
    parameters = parse_qsl(query, keep_blank_values=True)
    if [name for name, _ in parameters if name != _CA] or len(parameters) > 1:
        raise ValueError(f"only one parameter is known: {_CA}, the path of a PEM of certificate authorities")
    if parameters and not tls:
        raise ValueError(f"its parameter {_CA} needs rediss://")
    return parameters[0][1] if parameters else None


def _checked(url: SecretStr) -> SecretStr:
    read(url.get_secret_value())
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""The URL of Redis, kept out of every repr."""
