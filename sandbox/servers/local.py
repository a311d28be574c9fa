"""The back end that runs this machine's server programs, as this user or as the servers' own users."""

import secrets
import signal
from pathlib import Path
from typing import Any

from sandbox.machine import packages, processes
from sandbox.servers import record
from sandbox.servers.backend import Box, Servers
from sandbox.servers.postgres import Postgres, forget_crash
from sandbox.servers.rabbitmq import Ports, Rabbitmq

KIND = "local"


class Local:
    """Postgres in `<directory>/postgres`, RabbitMQ in `<directory>/rabbitmq`."""

    def create(self, directory: Path) -> Box:
        """Make and start both servers, at the same time; install missing packages."""
        programs = packages.require()
        values = record.reserve(
            directory,
            *("postgres_port", "amqp_port", "distribution_port", "epmd_port"),
            kind=KIND,
            postgres_programs=str(programs.postgres),
            rabbitmq_script=str(programs.rabbitmq),
            password=secrets.token_hex(12),
        )
        postgres, rabbitmq = _parts(directory, values)
        rabbitmq.create()
        rabbitmq.launch()
        postgres.create()
        postgres.start()
        rabbitmq.wait()
        return Box(Servers(postgres.url, rabbitmq.url), postgres, rabbitmq)

    def attach(self, directory: Path) -> Box:
        """Find the servers that `create` made in `directory`; they may be stopped."""
        postgres, rabbitmq = _parts(directory, record.read(directory))
        return Box(Servers(postgres.url, rabbitmq.url), postgres, rabbitmq)

    def destroy(self, directory: Path) -> None:
        """End every process of `directory`; an immediate stop of Postgres frees its shared memory."""
        processes.end(directory / "postgres", ask=signal.SIGQUIT, grace=5.0)
        processes.end(directory)
        forget_crash(directory / "postgres")


def _parts(directory: Path, values: dict[str, Any]) -> tuple[Postgres, Rabbitmq]:
    postgres = Postgres(
        directory / "postgres",
        programs=Path(values["postgres_programs"]),
        port=values["postgres_port"],
        password=values["password"],
    )
    rabbitmq = Rabbitmq(
        directory / "rabbitmq",
        script=Path(values["rabbitmq_script"]),
        ports=Ports(values["amqp_port"], values["distribution_port"], values["epmd_port"]),
        password=values["password"],
    )
    return postgres, rabbitmq
