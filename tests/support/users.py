"""Users of RabbitMQ with limited permissions; each is deleted after its block."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox import Sandbox
from tests.support.urls import login

_VIRTUAL_HOST = "/"


class User:
    """A user of the default virtual host, at first without permissions; `url` is the broker's URL for it."""

    def __init__(self, box: Sandbox, name: str, password: str) -> None:
        self._box = box
        self.name = name
        self.url = login(box.servers.amqp_url, name, password)
        box.rabbitmq.control("add_user", name, password)

    def permit(self, *, configure: str, write: str, read: str) -> None:
        """Give it exactly these permissions: https://www.rabbitmq.com/docs/access-control#authorisation."""
        self._box.rabbitmq.control("set_permissions", "-p", _VIRTUAL_HOST, self.name, configure, write, read)

    def change(self, password: str) -> None:
        """Change its password, and close its connections."""
        self._box.rabbitmq.control("change_password", self.name, password)
        self._box.rabbitmq.control("close_all_user_connections", self.name, "its password was changed")
        self.url = login(self.url, self.name, password)

    def delete(self) -> None:
        """Remove it."""
        self._box.rabbitmq.control("delete_user", self.name)


@contextmanager
def user(box: Sandbox, name: str, password: str | None = None) -> Iterator[User]:
    """Make a user without permissions; it is deleted at the end of the block."""
    made = User(box, name, password or secrets.token_hex(8))
    try:
        yield made
    finally:
        made.delete()
