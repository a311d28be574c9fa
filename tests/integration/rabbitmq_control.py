"""Administers the sandbox's RabbitMQ from beside it: users and their permissions, which AMQP cannot change.

One expression is evaluated by one `rabbitmqctl`, since each starts an Erlang VM (about 0.8 s).
"""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runtime.errors import Problem
from sandbox import Sandbox, processes, programs
from sandbox.accounts import account, caller


class User:
    """A user of the default virtual host; `url` is the broker's for it."""

    def __init__(self, box: Sandbox, name: str) -> None:
        self._box = box
        self.name = name
        password = secrets.token_hex(8)
        place = urlsplit(box.servers.amqp_url)
        self.url = place._replace(netloc=f"{name}:{password}@{place.hostname}:{place.port}").geturl()
        _evaluate(box, f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{password}">>, <<"test">>).')

    def permit(self, *, configure: str, write: str, read: str) -> None:
        """Give it exactly these permissions: https://www.rabbitmq.com/docs/access-control#authorisation."""
        patterns = ", ".join(f'<<"{pattern}">>' for pattern in (configure, write, read))
        _evaluate(
            self._box,
            f'rabbit_auth_backend_internal:set_permissions(<<"{self.name}">>, <<"/">>, {patterns}, <<"test">>).',
        )

    def delete(self) -> None:
        """Remove it."""
        _evaluate(self._box, f'rabbit_auth_backend_internal:delete_user(<<"{self.name}">>, <<"test">>).')


@contextmanager
def user(box: Sandbox, name: str) -> Iterator[User]:
    """Make a user without permissions for the time of a block."""
    made = User(box, name)
    try:
        yield made
    finally:
        made.delete()


def _evaluate(box: Sandbox, expression: str) -> None:
    home = box.directory / "rabbitmq"
    nodes = [process for process in processes.belonging(home) if process.program.startswith("beam")]
    script = programs.rabbitmq()
    if not nodes or script is None:
        pytest.skip("its users are administered beside a RabbitMQ of this machine's own, and this one is elsewhere")
    variables = Path(f"/proc/{nodes[0].pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    environment = dict(variable.decode().split("=", 1) for variable in variables)
    try:
        credentials = account("rabbitmq").credentials
    except Problem:
        credentials = caller().credentials
    done = subprocess.run(
        [script.resolve().parent / "rabbitmqctl", "--quiet", "eval", expression.replace("\\", "\\\\")],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        **credentials,
    )
    assert done.stdout.strip() == "ok", done.stdout + done.stderr
