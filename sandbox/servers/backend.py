"""What every back end provides: two URLs, and a handle on each server for tests that stop or kill it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

StopMode = Literal["fast", "immediate"]


@dataclass(frozen=True)
class Servers:
    """How to reach the two servers. Both URLs contain a password: show them to their user only."""

    database_url: str
    amqp_url: str


@dataclass(frozen=True)
class Extra:
    """What a private server has in addition.

    `configuration` is lines for postgresql.conf or rabbitmq.conf. `files` are texts by file name, readable by the
    server's user only. They are put into Postgres' data directory or RabbitMQ's working directory, so the
    configuration can name them without a path.
    """

    configuration: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


class PostgresServer(Protocol):
    """A handle on Postgres. For a server that the user named, every method raises Problem."""

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it as `pg_ctl stop` does, and wait for it; `immediate` skips the shutdown checkpoint."""

    def kill(self) -> None:
        """Kill the whole server with SIGKILL."""

    def start(self) -> None:
        """Start it, and return when it accepts connections; does nothing when it runs."""


class RabbitmqServer(Protocol):
    """A handle on RabbitMQ. For a server that the user named, every method raises Problem."""

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` beside the node and return what it prints; raises Problem when it fails.

        Each call starts an Erlang VM, which takes about a second.
        """

    def stop(self) -> None:
        """Stop it cleanly, and wait for it."""

    def kill(self) -> None:
        """Kill the whole node with SIGKILL."""

    def start(self) -> None:
        """Start it, and return when it accepts connections; does nothing when it runs."""


@dataclass(frozen=True)
class Box:
    """Two servers, and a handle on each."""

    servers: Servers
    postgres: PostgresServer
    rabbitmq: RabbitmqServer


class Backend(Protocol):
    """Where servers come from. Everything that a back end stores is in `directory`, the sandbox's own."""

    def create(self, directory: Path) -> Box:
        """Make and start both servers."""

    def attach(self, directory: Path) -> Box:
        """Find the servers that `create` made in `directory`; they may be stopped."""

    def destroy(self, directory: Path) -> None:
        """End everything that was started for `directory`, also after a failed `create`; safe to call again."""
