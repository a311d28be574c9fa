"""The version of the RabbitMQ that a test uses, for what differs."""

from urllib.parse import urlsplit

from sandbox.servers import amqp


def version(amqp_url: str) -> tuple[int, int]:
    """Return its major and minor number."""
    place = urlsplit(amqp_url)
    text = amqp.version(place.hostname or "localhost", place.port or 5672)
    assert text, "no broker answers"
    major, minor, *_ = text.split(".")
    return int(major), int(minor)
