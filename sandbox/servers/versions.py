"""The versions of running servers, which also show that they answer."""

from urllib.parse import urlsplit

import psycopg

from sandbox.servers import amqp
from sandbox.servers.backend import Servers

_AMQP_PORT = 5672
_SECONDS = 5


def read(servers: Servers) -> tuple[str | None, str | None]:
    """Return the versions of Postgres and RabbitMQ; None for a server that does not answer."""
    return _postgres(servers.database_url), _rabbitmq(servers.amqp_url)


def _postgres(url: str) -> str | None:
    try:
        with psycopg.connect(url, connect_timeout=_SECONDS) as connection:
            return connection.info.parameter_status("server_version")
    except psycopg.OperationalError:
        return None


def _rabbitmq(url: str) -> str | None:
    place = urlsplit(url)
    return amqp.version(place.hostname or "localhost", place.port or _AMQP_PORT)
