"""Users of RabbitMQ with limited permissions; each is deleted after its block."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.servers.backend import RabbitmqServer
from tests.support.urls import login

_VIRTUAL_HOST = "/"


class User:
    """A user of the default virtual host, at first without permissions; `url` is the one to connect as it."""

    def __init__(self, rabbitmq: RabbitmqServer, url: str, name: str, password: str) -> None:
        self._rabbitmq = rabbitmq
        self.name = name
        self.url = login(url, name, password)
        rabbitmq.control("add_user", name, password)

    def permit(self, *, configure: str, write: str, read: str) -> None:
        """Give it exactly these permissions: https://www.rabbitmq.com/docs/access-control#authorisation."""
        self._rabbitmq.control("set_permissions", "-p", _VIRTUAL_HOST, self.name, configure, write, read)

    def change(self, password: str) -> None:
        """Change its password, and close its connections."""
        self._rabbitmq.control("change_password", self.name, password)
        self._rabbitmq.control("close_all_user_connections", self.name, "its password was changed")
        self.url = login(self.url, self.name, password)

    def delete(self) -> None:
        """Remove it."""
        self._rabbitmq.control("delete_user", self.name)


@contextmanager
def user(rabbitmq: RabbitmqServer, url: str, name: str, password: str | None = None) -> Iterator[User]:
    """Make a user of the node at `url`, without permissions; it is deleted at the end of the block."""
    made = User(rabbitmq, url, name, password or secrets.token_hex(8))
    try:
        yield made
    finally:
        made.delete()
