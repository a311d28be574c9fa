"""The AMQP URL: what it means, and what is refused, by name and without any part of the password."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outboxkit.amqp.connection import parameters
from outboxkit.amqp.turn import Turn
from outboxkit.amqp.url import EXAMPLE, Node, nodes
from outboxkit.errors import ConfigurationProblem

TEXT = st.text(min_size=1).filter(lambda text: text.isascii() or text.encode("utf-8", "ignore").decode() == text)


def refusal(url: str) -> str:
    with pytest.raises(ConfigurationProblem) as caught:
        nodes(url)
    assert caught.value.remedy == EXAMPLE
    return caught.value.what


@pytest.mark.parametrize(
    ("url", "node"),
    [
        ("amqp://mq.example", Node("mq.example", 5672, tls=False)),
        ("AMQPS://mq.example", Node("mq.example", 5671, tls=True)),
        ("amqp://u:p@mq:1/v", Node("mq", 1, tls=False, user="u", password="p", virtual_host="v")),
        ("amqp://u:@mq/%2F", Node("mq", 5672, tls=False, user="u", password="")),
        ("amqp://u:p@mq/a%2Fb", Node("mq", 5672, tls=False, user="u", password="p", virtual_host="a/b")),
        ("amqp://[::1]:5673", Node("::1", 5673, tls=False)),
        ("amqp://[fe80::1%25eth0]", Node("fe80::1%eth0", 5672, tls=False)),
        ("amqp://rabbit_1", Node("rabbit_1", 5672, tls=False)),
        ("amqp://mq?heartbeat=0", Node("mq", 5672, tls=False, heartbeat=0)),
        (
            "amqp://mq/v?heartbeat=5&blocked_connection_timeout=60&frame_max=8192",
            Node("mq", 5672, False, virtual_host="v", heartbeat=5, blocked_connection_timeout=60, frame_max=8192),
        ),
    ],
)
def test_a_url_names_a_node(url: str, node: Node) -> None:
    assert nodes(url) == (node,)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("amqp://u:p@h1:5672,h2:5673/v", ["h1:5672/v", "h2:5673/v"]),
        ("amqp://u:p@h1,h2,[::1]:7/v", ["h1:5672/v", "h2:5672/v", "[::1]:7/v"]),
        ("amqp://u:p@h1/v,amqps://u:p@h2/v", ["h1:5672/v", "h2:5671/v"]),
        ("amqps://u:p@h1,h2,amqps://u:p@h3", ["h1:5671/", "h2:5671/", "h3:5671/"]),
        ("amqp://u:p,w@h1,h2", ["h1:5672/", "h2:5672/"]),
    ],
)
def test_several_hosts_are_named_in_one_url_or_in_several(url: str, hosts: list[str]) -> None:
    assert [str(node) for node in nodes(url)] == hosts


@given(TEXT, TEXT, TEXT)
def test_what_is_percent_encoded_is_read_back(user: str, password: str, virtual_host: str) -> None:
    login, path = f"{quote(user, safe='')}:{quote(password, safe='')}", quote(virtual_host, safe="")
    (node,) = nodes(f"amqps://{login}@mq.example/{path}")
    assert (node.user, node.password, node.virtual_host) == (user, password, virtual_host)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ('"amqp://u:p@h"', "quotation mark"),
        ("amqp://u:p@h'", "quotation mark"),
        ("amqp://u:p@h/v\r", "white space"),
        (" amqp://u:p@h", "white space"),
        ("amqp://u:p@h1, amqp://u:p@h2", "white space"),
        ("u:p@h:5672", "does not begin with amqp:// or amqps://"),
        ("http://u:p@h:15672", "does not begin with amqp:// or amqps://"),
        ("amqp:/u:p@h", "does not begin with amqp:// or amqps://"),
        ("amqp://", "a host is missing"),
        ("amqp:///v", "a host is missing"),
        ("amqp://u:p@/v", "a host is missing"),
        ("amqp://:5672", "a host is missing"),
        ("amqp://h1,", "a host is missing"),
        ("amqp://u:p@h1,,h2", "a host is missing"),
        ("amqp://h|1", "a host contains a character"),
        ("amqp://h:", "a port is not a number from 1 to 65535"),
        ("amqp://h:0", "a port is not a number from 1 to 65535"),
        ("amqp://h:65536", "a port is not a number from 1 to 65535"),
        ("amqp://h:\u0665", "a port is not a number from 1 to 65535"),
        ("amqp://h:amqp", "a port is not a number from 1 to 65535"),
        ("amqp://fe80::1", "in brackets, as [::1]"),
        ("amqp://u:p@::1", "in brackets, as [::1]"),
        ("amqp://u:p@h1,::1:5672/v", "in brackets, as [::1]"),
        ("amqp://u@h", "both a user and a password"),
        ("amqp://:p@h", "both a user and a password"),
        ("amqp://@h", "both a user and a password"),
        ("amqp://u:p@h1,u:p@h2/v", "name the user once"),
        ("amqp://u:100%@h", "in the password, a % is not followed by two hexadecimal digits"),
        ("amqp://u%4:p@h", "in the user, a %"),
        ("amqp://u:p@h/%", "in the virtual host, a %"),
        ("amqp://u:%FF@h", "in the password, what is percent-encoded is not UTF-8"),
        ("amqp://u:p#w@h", "# is %23"),
        ("amqp://u:p@h/v#w", "# is %23"),
        ("amqp://u:p/w@h", "/ is %2F"),
        ("amqp://u:p@h/", "the virtual host with the empty name"),
        ("amqp://u:p@h/?heartbeat=5", "the virtual host with the empty name"),
        ("amqp://u:p@h/a/b", "more than one segment: a / in the name of the virtual host is written %2F"),
        ("amqp://u:p@h/a/", "more than one segment"),
        ("amqp://u:p@h1/v,h2", "further hosts stand before the first /"),
        ("amqp://h1/v,amqp://h2/w", "more than one virtual host"),
        ("amqp://h1,amqp://h2/v", "end with the same path"),
        ("amqp://h?connection_timeout=5", "parameter 'connection_timeout' is unknown; known are heartbeat, blocked"),
        ("amqp://h?heart_beat=5", "parameter 'heart_beat' is unknown; known are heartbeat"),
        ("amqp://h?cacertfile=/ca.pem", "AMQP_CA, AMQP_CERTIFICATE and AMQP_KEY are settings of their own"),
        ("amqps://h?verify=verify_none", "amqps:// always verifies"),
        ("amqp://h?heartbeat=5&heartbeat=6", "parameter heartbeat is given twice"),
        ("amqp://h?heartbeat", "parameter heartbeat is not a number of seconds from 0 to 65535"),
        ("amqp://h?heartbeat=-1", "parameter heartbeat is not a number of seconds"),
        ("amqp://h?frame_max=1", "parameter frame_max is not a number of bytes from 4096 to 131072"),
    ],
)
def test_what_cannot_be_understood_is_named(url: str, why: str) -> None:
    assert why in refusal(url)


@given(st.text(max_size=8), st.sampled_from(["", "amqps://relay:pw@other.example,"]))
def test_a_password_is_read_or_refused_and_never_shown(noise: str, before: str) -> None:
    url = f"{before}amqps://relay:Kx4Vorn{noise}Kx4Hint@mq.example:5671/%2F"
    shown = ""
    try:
        read = nodes(url)[-1]
    except ConfigurationProblem as problem:
        shown = str(problem)
    else:
        shown = f"{read!r} {read}"
        assert (read.host, read.port) == ("mq.example", 5671)
    assert "Kx4" not in shown


def test_what_a_url_leaves_open_is_ours_to_say_and_what_it_says_wins() -> None:
    (ours, theirs) = nodes("amqp://u:p@h/v,amqp://u:p@h/v?heartbeat=0&blocked_connection_timeout=9&frame_max=4096")
    read = parameters(ours, name="me")
    assert (read.host, read.port, read.virtual_host, read.ssl_options) == ("h", 5672, "v", None)
    assert (read.heartbeat, read.blocked_connection_timeout, read.frame_max) == (10, 300, 131_072)
    read = parameters(theirs, name="me")
    assert (read.heartbeat, read.blocked_connection_timeout, read.frame_max) == (0, 9, 4096)


def test_each_attempt_begins_with_the_node_after_the_last_one_tried() -> None:
    turn, cluster = Turn(), nodes("amqp://h1,h2,h3")
    attempt = turn.order(cluster)
    assert [node.host for node in (next(attempt), next(attempt))] == [
        "h1",
        "h2",
    ]  # the second one is connected, and lost
    assert [node.host for node in turn.order(cluster)] == ["h3", "h1", "h2"]  # none is usable
    assert [node.host for node in turn.order(nodes("amqp://h1,h4"))] == ["h1", "h4"]  # another URL
