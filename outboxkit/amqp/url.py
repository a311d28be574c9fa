"""An AMQP URL, read into the nodes that it names. Pure; no error contains a user, a password, or what may be one.

    url = 1*( scheme "://" [ user ":" password "@" ] host [ ":" port ] *( "," host [ ":" port ] )
              [ "/" vhost ] [ "?" parameters ] )          several of them are joined by ","

https://www.rabbitmq.com/docs/uri-spec. Nothing is guessed: what has no meaning, or more than one, is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from outboxkit.errors import ConfigurationProblem

EXAMPLE = "write amqp://user:password@host:5672/vhost"
DEFAULT_VIRTUAL_HOST = "/"

_PORTS = {"amqp": 5672, "amqps": 5671}
_BETWEEN = re.compile(r",(?=amqps?://)", re.IGNORECASE)
_URL = re.compile(r"(amqps?)://([^/?]*)(/[^?]*)?(?:\?(.*))?", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\]|[\w.-]+)(?::(.*))?")
_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_BRACKETS = "an IPv6 address is written in brackets, as [::1]"
_LARGEST_FRAME = 131_072  # of pika
# What a parameter is, and its smallest and largest value. AMQP 0-9-1 has 16 bits for the heartbeat.
_PARAMETERS = {
    "heartbeat": ("a number of seconds", 0, 65_535),
    "blocked_connection_timeout": ("a number of seconds", 1, 86_400),
    "frame_max": ("a number of bytes", 4_096, _LARGEST_FRAME),
}
_OF_TLS = frozenset({"cacertfile", "certfile", "keyfile", "verify", "fail_if_no_peer_cert", "ssl_options"})


@dataclass(frozen=True, slots=True)
class Node:
    """One node of RabbitMQ: where it listens, and how to log in. As text it is `host:port/vhost`."""

    host: str
    port: int
    tls: bool
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    virtual_host: str = DEFAULT_VIRTUAL_HOST
    heartbeat: int | None = None
    """Seconds; None: our own choice, as for the next."""
    blocked_connection_timeout: int | None = None
    frame_max: int = _LARGEST_FRAME

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.virtual_host.removeprefix('/')}"


def nodes(url: str) -> tuple[Node, ...]:
    """Return the nodes that `url` names, in its order; raises ConfigurationProblem for what cannot be understood."""
    _check_characters(url)
    found = tuple(node for one in _BETWEEN.split(url) for node in _nodes(one))
    if len({node.virtual_host for node in found}) > 1:
        raise _wrong(
            "it names more than one virtual host: its hosts are tried in turn, so they must be one cluster, and whole "
            "URLs with a comma between them end with the same path"
        )
    return found


def _check_characters(url: str) -> None:
    if not url.strip():
        raise _wrong("it is empty")
    if url[0] in "\"'" or url[-1] in "\"'":
        raise _wrong("it has a quotation mark around it: remove it")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise _wrong("it contains white space: remove it, or write it as %20 if it belongs to the password")


def _nodes(url: str) -> Iterator[Node]:
    parts = _URL.fullmatch(url)
    if parts is None:
        raise _wrong("it does not begin with amqp:// or amqps://")
    scheme, authority, path, query = parts[1].lower(), parts[2], parts[3], parts[4]
    if "#" in url or "@" in url[parts.end(2) :]:
        raise _wrong("a character of the password must be percent-encoded: / is %2F, ? is %3F, # is %23, @ is %40")
    login, at, hosts = authority.rpartition("@")
    if "@" in login and "," in login:
        raise _wrong("it has more than one @ and a comma: name the user once, before the first host; @ is %40 there")
    places = [_place(host, scheme) for host in hosts.split(",")]
    user, password = _login(login) if at else ("guest", "guest")
    virtual_host = _virtual_host(path)
    parameters = _parameters(query)
    for host, port in places:
        yield Node(host, port, scheme == "amqps", user, password, virtual_host, **parameters)


def _place(text: str, scheme: str) -> tuple[str, int]:
    if text.startswith("::"):
        raise _wrong(_BRACKETS)
    if not text or text[0] == ":":
        raise _wrong("a host is missing")
    found = _HOST.fullmatch(text)
    if found is None:
        raise _wrong("a host contains a character that no host has")
    host, port = found[1].strip("[]").replace("%25", "%"), found[2]
    if port is None:
        return host, _PORTS[scheme]
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise _wrong(f"a port is not a number from 1 to 65535 ({_BRACKETS})")
    return host, int(port)


def _login(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not user or not colon:
        raise _wrong("it needs both a user and a password before the @")
    return _decoded(user, "the user"), _decoded(password, "the password")


def _virtual_host(path: str | None) -> str:
    if path is None:
        return DEFAULT_VIRTUAL_HOST
    name = path[1:]
    if not name:
        raise _wrong(
            "its path / names the virtual host with the empty name: leave it out, or write /%2F, for the default one"
        )
    if "/" in name:
        raise _wrong("its path has more than one segment: a / in the name of the virtual host is written %2F, as a%2Fb")
    if "," in name:
        raise _wrong("a comma follows its path: further hosts stand before the first /; in a virtual host it is %2C")
    return _decoded(name, "the virtual host")


def _parameters(query: str | None) -> dict[str, int]:
    values: dict[str, int] = {}
    for pair in (query or "").split("&") if query else ():
        name, _, text = pair.partition("=")
        if name not in _PARAMETERS:
            raise _wrong(_unknown(name))
        if name in values:
            raise _wrong(f"its parameter {name} is given twice")
        what, least, most = _PARAMETERS[name]
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise _wrong(f"its parameter {name} is not {what} from {least} to {most}")
        values[name] = int(text)
    return values


def _unknown(name: str) -> str:
    text = f"its parameter {name!r} is unknown; known are {', '.join(_PARAMETERS)}"
    if name in _OF_TLS:
        text += "; AMQP_CA, AMQP_CERTIFICATE and AMQP_KEY are settings of their own, and amqps:// always verifies"
    return text


def _decoded(text: str, what: str) -> str:
    if _PERCENT.search(text):
        raise _wrong(f"in {what}, a % is not followed by two hexadecimal digits: % itself is written %25")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise _wrong(f"in {what}, what is percent-encoded is not UTF-8") from error


def _wrong(what: str) -> ConfigurationProblem:
    return ConfigurationProblem(what, remedy=EXAMPLE)
