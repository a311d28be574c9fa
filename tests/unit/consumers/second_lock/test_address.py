"""The URL of Redis: what is read of it, what is refused, and that no error shows a value."""

import pytest

from consumers.second_lock.address import RedisAddress, read


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", RedisAddress("h", 6379, 0, tls=False, ca=None, user=None, password=None)),
        ("redis://h:1/", RedisAddress("h", 1, 0, tls=False, ca=None, user=None, password=None)),
        ("redis://:p%40%2F@[::1]:1/15", RedisAddress("::1", 1, 15, tls=False, ca=None, user=None, password="p@/")),
        ("rediss://u:p@h/2", RedisAddress("h", 6379, 2, tls=True, ca=None, user="u", password="p")),
        ("rediss://h?ssl_ca_certs=/a%20b", RedisAddress("h", 6379, 0, tls=True, ca="/a b", user=None, password=None)),
    ],
)
def test_a_url_names_host_port_database_and_login(url: str, address: RedisAddress) -> None:
    assert read(url) == address
    assert address.password is None or repr(address.password) not in repr(address)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "does not begin with redis://"),
        ("localhost:6379", "does not begin with redis://"),
        ("http://h", "does not begin with redis://"),
        ("'redis://h'", "quotation mark"),
        ("redis://u:planted @h", "white space"),
        ("redis://u:planted%zz@h", "%25"),
        ("redis://u:pla/nted@h:1/0", "percent-encoded"),
        ("redis://u:pla?nted@h:1/0", "percent-encoded"),
        ("redis://u:pla#nted@h:1/0", "percent-encoded"),
        ("redis://u:planted@h:planted/0", "percent-encoded"),
        ("redis://h:planted/0", "host or port"),
        ("redis://h:99999/0", "host or port"),
        ("redis:///0", "one host"),
        ("redis://h1,h2/0", "one host"),
        ("redis://h/planted", "number of a database"),
        ("redis://h/0/1", "number of a database"),
        ("redis://h?planted=1", "ssl_ca_certs"),
        ("rediss://h?ssl_ca_certs=a&ssl_ca_certs=planted", "ssl_ca_certs"),
        ("redis://h?ssl_ca_certs=planted", "needs rediss://"),
    ],
)
def test_what_cannot_be_read_is_refused_without_its_value(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read(url)
    assert "planted" not in str(caught.value)
