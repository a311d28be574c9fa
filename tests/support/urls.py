"""The URLs of servers, changed as tests need them."""

from urllib.parse import quote, urlsplit


def login(url: str, user: str, password: str) -> str:
    """Return `url` for another user."""
    place = urlsplit(url)
    return place._replace(netloc=f"{user}:{quote(password, safe='')}@{place.hostname}:{place.port}").geturl()
