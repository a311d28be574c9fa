"""The back end that runs this machine's own server programs, as processes of this user or of the servers' users."""

import ctypes
import secrets
import signal
from pathlib import Path
from typing import Any

from sandbox import packages, processes, record
from sandbox.postgres import Postgres
from sandbox.rabbitmq import Ports, Rabbitmq
from sandbox.servers import Box, Servers

KIND = "local"
_IPC_RMID = 0


class Local:
    """Postgres in `<directory>/postgres`, RabbitMQ in `<directory>/rabbitmq`."""

    def create(self, directory: Path) -> Box:
        """Make and start both servers, at the same time; installs what is missing."""
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
        """End every process of `directory`; Postgres by an immediate stop, which frees its shared memory."""
        processes.end(directory / "postgres", ask=signal.SIGQUIT, patience=5.0)
        processes.end(directory)
        _free_shared_memory(directory / "postgres" / "cluster")


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


def _free_shared_memory(cluster: Path) -> None:
    """Free the small System V segment by which a Postgres that was killed still marks its data directory.

    The seventh line of postmaster.pid names it by key and id
    (https://www.postgresql.org/docs/current/storage-file-layout.html); proc_sysvipc(5) tells whether it is still that.
    """
    try:
        key, identifier = (cluster / "postmaster.pid").read_text(encoding="ascii").splitlines()[6].split()
        segments = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
    except (OSError, IndexError, ValueError):
        return
    for segment in segments:
        fields = segment.split()
        if fields[:2] == [key, identifier] and fields[6] == "0":  # nobody is attached
            ctypes.CDLL(None).shmctl(int(identifier), _IPC_RMID, None)
