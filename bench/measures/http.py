"""How long `writers serve` takes to answer at an even load, and what a request costs; one instance, one row a request.

The load is open: latency counts from the time at which a request was due (bench/load/requesting.py), and a commit waits
for its WAL. The client uses a part of the same cores.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass

from bench.instruments import figures, procfs
from bench.instruments.figures import Spread
from bench.instruments.metrics import Endpoint
from bench.load import programs
from bench.load.programs import Program
from bench.load.requesting import Request
from bench.stage import Stage, free_address, stage
from bench.watch import wait_for_quiet
from outboxkit.errors import Problem
from sandbox import Sandbox
from sandbox.machine.waiting import until

_READY_SECONDS = 30.0
_LATE_SECONDS = 60.0
_WARM = 200
_KNOWN_TASKS = 100
_BODY = json.dumps({"type": "bench", "payload": {"customer": "Ada Lovelace", "items": list(range(20))}})
SUBMIT, LOOK, LIST = "POST /tasks", "GET /tasks/{id}", "GET /tasks?limit=50"
KINDS = (SUBMIT, LOOK, LIST)


@dataclass(frozen=True, slots=True)
class Requests:
    """One run of requests of one kind."""

    what: str
    rate: int
    """Requests per second, as requested."""
    requests: int
    answered_ms: Spread
    """Due → answered."""
    service_us: float
    """CPU of the service for each request, user and system."""
    postgres_us: float | None
    """CPU of Postgres for each request; None if it runs elsewhere."""
    idle_cores: float


def measure(box: Sandbox, *, rates: Sequence[int], seconds: int, window: int) -> Iterator[Requests]:
    """Send each kind of request at each of `rates`, `seconds` long."""
    for rate in rates:
        for kind in KINDS:
            with stage(box, window=window) as place, _serving(place) as (service, address):
                yield _Run(place, service, address, rate).measure(kind, rate * seconds)


@contextmanager
def _serving(place: Stage) -> Iterator[tuple[Program, str]]:
    address = free_address()
    environment = {"WRITERS_DATABASE_URL": place.database_url, "WRITERS_HTTP_ADDRESS": address}
    with programs.command(place.place, "writers", "serve", environment=environment) as service:
        with closing(Endpoint(address)) as endpoint:
            until(endpoint.ready, what="the service is ready", seconds=_READY_SECONDS)
        yield service, address


class _Run:
    """A service, and the client that asks it."""

    def __init__(self, place: Stage, service: Program, address: str, rate: int) -> None:
        self._place = place
        self._pid = service.pid
        self._servers = place.postgres_pids()
        self._address = address
        self._rate = rate

    def measure(self, kind: str, count: int) -> Requests:
        """Send `count` requests of `kind`, after some to warm up; raises Problem if they wrote something else."""
        requests = self._requests(kind)
        self._send(requests, _WARM)
        self._place.vacuum()
        wait_for_quiet(count)
        before, used = self._written(), self._used()
        latencies = self._send(requests, count)
        own, server, idle = (after - earlier for after, earlier in zip(self._used(), used, strict=True))
        written = self._written() - before
        if written != (count if kind == SUBMIT else 0):
            raise Problem(f"{count} requests {kind} wrote {written} tasks", remedy="see the service's log")
        return Requests(
            what=kind,
            rate=self._rate,
            requests=count,
            answered_ms=figures.spread([each * 1000 for each in latencies]),
            service_us=own / count * 1e6,
            postgres_us=server / count * 1e6 if self._servers else None,
            idle_cores=idle / (count / self._rate),
        )

    def _requests(self, kind: str) -> list[Request]:
        submit = Request("POST", "/tasks", _BODY, 201)
        self._send([submit], _KNOWN_TASKS)
        known = self._place.execute("bench_http_tasks", limit=_KNOWN_TASKS)
        looks = [Request("GET", f"/tasks/{task_id}") for (task_id,) in known]
        return {SUBMIT: [submit], LOOK: looks, LIST: [Request("GET", "/tasks?limit=50")]}[kind]

    def _send(self, requests: Sequence[Request], count: int) -> list[float]:
        to = self._place.place / "latencies"
        load = {"rate": self._rate, "count": count, "requests": [asdict(each) for each in requests]}
        arguments = {**load, "address": self._address, "to": str(to)}
        with programs.module(self._place.place, "bench.load.requesting", arguments) as client:
            client.finish(seconds=count / self._rate + _LATE_SECONDS)
        latencies: list[float] = json.loads(to.read_text(encoding="ascii"))
        return latencies

    def _written(self) -> int:
        ((count,),) = self._place.execute("bench_http_count")
        return int(count)

    def _used(self) -> tuple[float, float, float]:
        """Return the CPU of the service and of Postgres so far, and the machine's idle time."""
        return procfs.cpu([self._pid]), procfs.cpu(self._servers), procfs.machine()[1]
