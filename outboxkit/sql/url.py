"""The type of a setting with the URL of a database, in either of libpq's forms.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING. libpq decides what a URL means; what it
takes for something else, or finds only when it connects, is refused here. No error contains a value.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, SecretStr

_SCHEMES = ("postgresql", "postgres")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*")
_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})|%00")
_PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)", re.DOTALL)
_NUMBERS = (
    *("connect_timeout", "tcp_user_timeout", "keepalives"),
    *("keepalives_idle", "keepalives_interval", "keepalives_count"),
)
_CHOICES = MappingProxyType(
    {
        "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
        "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
        "channel_binding": ("disable", "prefer", "require"),
        "gssencmode": ("disable", "prefer", "require"),
        "load_balance_hosts": ("disable", "random"),
    }
)
_ENCODE = "a character of its password must be percent-encoded: @ is %40, / is %2F"


def _checked(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not text.strip():  # libpq would use its defaults and the PG* variables
        raise ValueError("it is empty")
    if text[0] in "\"'" or (text[-1] in "\"'" and "://" in text):
        raise ValueError("it has a quotation mark around it: remove it")
    problems = _of_url(text) if _is_url(text) else _of_keywords(text)
    if problem := next(problems, None):
        raise ValueError(problem)
    return url


def _is_url(text: str) -> bool:
    """Return whether `text` is meant as a URL: a value of the other form may contain :// too."""
    return "://" in text and "=" not in text.partition("://")[0]


def _of_url(text: str) -> Iterator[str]:
    """Yield what is wrong with a URL."""
    if any(character.isspace() for character in text):
        yield "it contains white space: remove it, or write it as %20"
    scheme, _, rest = text.partition("://")
    if scheme not in _SCHEMES:
        named = f"it begins with {scheme}://, " if _SCHEME.fullmatch(scheme) and "@" not in scheme else "its scheme is "
        driver = " (the + and what follows is another library's)" if scheme.startswith(_SCHEMES) else ""
        yield f"{named}not postgresql://{driver}"
    if _PERCENT.search(text):
        yield "a % is not followed by two hexadecimal digits: % itself is written %25"
    values = _parsed(text)
    parameters = rest.partition("?")[2]
    if "@" not in parameters:  # otherwise a name may be a part of a password
        yield from _of_parameters([pair for pair in parameters.split("&") if pair])
    if values is None:
        yield _ENCODE if "@" in rest else "it is not a Postgres connection string"
        return
    if _misread(text, values):
        yield _ENCODE
    yield from _of_values(values)


def _of_parameters(pairs: list[str]) -> Iterator[str]:
    names = [pair.partition("=")[0] for pair in pairs]
    yield from _of_names(names, shown=True)
    yield from (f"its parameter {name} has no value" for name, pair in zip(names, pairs, strict=True) if name == pair)


def _of_keywords(text: str) -> Iterator[str]:
    """Yield what is wrong with `keyword=value` pairs."""
    if "=" not in text:
        yield "it is neither a URL nor keyword=value pairs"
    yield from _of_names(_PAIR.findall(text), shown=False)  # an unknown one may be a part of a password
    values = _parsed(text)
    if values is None:
        yield "it has an unknown keyword, or a value with a space that is not in single quotes"
        return
    yield from _of_values(values)


def _of_names(names: list[str], *, shown: bool) -> Iterator[str]:
    known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    for name in names:
        if name in known or name == "ssl":  # JDBC's, which libpq takes too
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if near:
            yield f"its parameter {name!r} is unknown; did you mean {near[0]}?"
        elif shown:
            yield f"its parameter {name!r} is unknown; known are those of libpq, such as sslmode and connect_timeout"
    if twice := [name for name in known if names.count(name) > 1]:
        yield f"its parameter {twice[0]} is given twice"


def _of_values(values: Mapping[str, object]) -> Iterator[str]:
    if "replication" in values:
        yield "its parameter replication is set where it is needed: leave it out"
    for name in _NUMBERS:
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", str(values.get(name, 0))):
            yield f"its parameter {name} is not a number"
    for name, choices in _CHOICES.items():
        if values.get(name, choices[0]) not in choices:
            yield f"its parameter {name} is none of {', '.join(choices)}"
    ports = str(values.get("port", "")).split(",")
    if not all(not port or (port.isdigit() and 0 < int(port) < 1 << 16) for port in ports):
        yield "a port is not a number from 1 to 65535"
    hosts = str(values.get("hostaddr") or values.get("host") or "").split(",")
    if len(ports) not in {1, len(hosts)}:
        yield f"it has {len(hosts)} hosts and {len(ports)} ports"


def _parsed(text: str) -> Mapping[str, object] | None:
    try:
        return conninfo_to_dict(text)
    except ProgrammingError:  # its text contains values
        return None


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
