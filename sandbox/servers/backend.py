"""What every back end gives: two URLs, and a hold on each server for tests that break it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

StopMode = Literal["fast", "immediate"]


@dataclass(frozen=True)
class Servers:
    """How to reach the two servers. Both URLs carry a password: show them to their user only."""

    database_url: str
    amqp_url: str


@dataclass(frozen=True)
class Extra:
    """What a private server has beside the usual.

    `configuration` is lines for postgresql.conf or rabbitmq.conf. `files` are texts by name, which only the server's
    user can read: Postgres has them in its data directory, RabbitMQ in its working directory, so that configuration
    names them without a path.
    """

    configuration: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


class PostgresServer(Protocol):
    """A hold on Postgres; servers that the user named refuse each of these with a Problem."""

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it as `pg_ctl stop` does, and wait for it; `immediate` leaves a crash to recover from."""

    def kill(self) -> None:
        """Kill the whole server with SIGKILL."""

    def start(self) -> None:
        """Start it, and return when it accepts connections; does nothing when it runs."""


class RabbitmqServer(Protocol):
    """A hold on RabbitMQ; servers that the user named refuse each of these with a Problem."""

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` beside the node and return what it prints; raises Problem when it fails.

        Each call starts an Erlang VM, which takes about a second.
        """

    def stop(self) -> None:
        """Stop it in order, and wait for it."""

    def kill(self) -> None:
        """Kill the whole node with SIGKILL."""

    def start(self) -> None:
        """Start it, and return when it accepts connections; does nothing when it runs."""


@dataclass(frozen=True)
class Box:
    """Two servers, and a hold on each."""

    servers: Servers
    postgres: PostgresServer
    rabbitmq: RabbitmqServer


class Backend(Protocol):
    """Where servers come from. `directory` is the sandbox's own; it holds all that a back end remembers."""

    def create(self, directory: Path) -> Box:
        """Make and start both servers."""

    def attach(self, directory: Path) -> Box:
        """Find the servers that `create` made in `directory`; they may be stopped."""

    def destroy(self, directory: Path) -> None:
        """End whatever was started for `directory`, however far that came; safe to call again."""
