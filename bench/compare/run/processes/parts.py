"""The processes of an arm in a run: the relay's own, a control's, or a peer's."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.compare.arms import Way
from bench.compare.peers.peer import Command, Peer
from bench.compare.run.processes.service import Service
from bench.compare.run.reading.queued import WaitingMessages
from bench.instruments.metrics import Endpoint
from bench.load import programs
from bench.load.programs import Program
from bench.stage import Stage, free_address
from bench.watch import Watched
from outboxkit.errors import Problem

_READY = "ready"


@dataclass(frozen=True, slots=True)
class Part:
    """One process, and what can be asked of it from outside."""

    program: Watched
    ready: Callable[[], bool]
    confirmed: Callable[[], int]
    """How many events RabbitMQ has confirmed; of a peer, while nobody consumes the queue."""
    endpoint: Endpoint | None = None
    service: Service | None = None
    """If it is started again when it ends."""

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return 0 if self.service is None else self.service.restarts


@contextmanager
def started(place: Stage, way: Way, number: int, queue: str, *, restarted: bool) -> Iterator[Part]:
    """Run one process of `way` for the block; a peer, or any that is to be `restarted`, is a service."""
    if way.peer is not None:
        with _peer(place, way, queue) as part:
            yield part
        return
    address = free_address()
    start = _start(place, way, number, address)
    with closing(Endpoint(address)) as endpoint:
        if restarted:
            with Service(start, lambda _: endpoint.ready()) as service:
                yield Part(service, service.ready, endpoint.confirmed, endpoint, service)
        else:
            with start() as program:
                yield Part(program, endpoint.ready, endpoint.confirmed, endpoint)


def _start(place: Stage, way: Way, number: int, address: str) -> Callable[[], AbstractContextManager[Program]]:
    directory = place.place / f"arm{number}"
    if way.control is None:
        environment = {**place.settings(), **way.arm.settings, "RELAY_HTTP_ADDRESS": address}
        return lambda: programs.command(directory, "relay", "run", environment=environment)
    arguments = _control(place, way, address)
    return lambda: programs.module(directory, "bench.compare.controls.process", arguments)


def _control(place: Stage, way: Way, address: str) -> Mapping[str, object]:
    return {
        "control": way.control,
        "database_url": place.database_url,
        "amqp_url": place.amqp_url,
        "exchange": place.exchange,
        "window": place.window,
        "interval": way.arm.interval,
        "http_address": address,
    }


@contextmanager
def _peer(place: Stage, way: Way, queue: str) -> Iterator[Part]:
    peer, command = way.peer, way.command
    if peer is None or command is None:
        raise Problem(f"{way.arm.name} is not installed", remedy="install it before it is run")
    directory = place.place / f"arm-{place.exchange}"  # what it keeps there is of this run only
    directory.mkdir(parents=True, exist_ok=True)
    lines = place.place / "arrivals"
    with Service(lambda: _script(place, peer, command, directory, lines), _says_ready) as service:
        if way.queued:
            with closing(WaitingMessages(place.amqp_url, queue)) as waiting:
                yield Part(service, service.ready, waiting.count, service=service)
        else:
            yield Part(service, service.ready, lambda: _lines(lines), service=service)


def _script(
    place: Stage, peer: Peer, command: Command, directory: Path, lines: Path
) -> AbstractContextManager[Program]:
    arguments = {
        "database_url": place.database_url,
        "amqp_url": place.amqp_url,
        "exchange": place.exchange,
        "slot": place.exchange,
        "directory": str(directory),
        "lines": str(lines),
    }
    return programs.script(directory, list(command.words), peer.name, arguments, command.environment)


def _says_ready(program: Program) -> bool:
    return _READY in program.log.read_text(encoding="utf-8", errors="replace").splitlines()


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0
