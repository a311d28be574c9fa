"""The back end for servers that the user names: it never starts or ends them."""

from pathlib import Path
from typing import NoReturn

from outboxkit.errors import Problem
from sandbox.servers import record
from sandbox.servers.backend import Box, Servers, StopMode

KIND = "named"


class Named:
    """Servers at two URLs. Without URLs, `attach` still finds those that `create` recorded."""

    def __init__(self, servers: Servers | None = None) -> None:
        self._servers = servers

    def create(self, directory: Path) -> Box:
        """Record the URLs."""
        if self._servers is None:
            raise Problem("no servers are named", remedy="set SANDBOX_DATABASE_URL and SANDBOX_AMQP_URL")
        record.write(directory, kind=KIND, database_url=self._servers.database_url, amqp_url=self._servers.amqp_url)
        return self.attach(directory)

    def attach(self, directory: Path) -> Box:
        """Read the recorded URLs."""
        values = record.read(directory)
        return Box(Servers(values["database_url"], values["amqp_url"]), _NotOurs(), _NotOurs())

    def destroy(self, directory: Path) -> None:
        """Do nothing: the servers are the user's."""


class _NotOurs:
    """A server that belongs to the user."""

    def stop(self, mode: StopMode = "fast") -> None:
        del mode
        self._refuse("stopped")

    def kill(self) -> None:
        self._refuse("killed")

    def start(self) -> None:
        self._refuse("started")

    def control(self, *arguments: str) -> str:
        del arguments
        return self._refuse("administered")

    def _refuse(self, done: str) -> NoReturn:
        raise Problem(
            f"a server named by SANDBOX_DATABASE_URL or SANDBOX_AMQP_URL is never {done}",
            remedy="unset both to get private servers",
        )
