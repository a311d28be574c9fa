"""One fault's surroundings: real servers behind proxies, writers, a tap, and the relays that the fault starts.

A fault gets a `Run` with writers at work. It starts relays, breaks something, repairs it, calls `healed`, and leaves
one relay that works. judging.py does the rest.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from bench.instruments import procfs
from sandbox import Isolated, Sandbox
from sandbox.servers.backend import PostgresServer, RabbitmqServer
from tests.faults.recovery import Recovery
from tests.support.commands import Command
from tests.support.oracles import Delivery
from tests.support.proxy import Proxy, Watch
from tests.support.roles import alter
from tests.support.stage import WINDOW, Stage
from tests.support.things import Things
from tests.support.wire.acknowledgement import Acknowledgement

T = TypeVar("T")

LARGEST = 12
"""How many events one transaction of the load has at most (`Things`)."""
REPEATED = 3 * WINDOW + LARGEST
"""What one crash of a relay may publish again: what was in flight (a window), what was confirmed since the position was
stored (a window, and what comes while it is stored), and the confirmed part of an open transaction."""
MORE_RESIDENT = 32 << 20
"""Bytes of the largest window."""

ATTEMPTS = 12
"""How many connections a relay requests at most within half a minute. Its backoff starts at 0.1 s and doubles up to
10 s; jitter takes at most half of each delay."""


class Footprint(NamedTuple):
    """Open descriptors of a process, and `peak`: the most bytes that it had resident."""

    descriptors: int
    peak: int

    @classmethod
    def of(cls, command: Command) -> "Footprint":
        """Read both from /proc."""
        pid = command.process.pid
        return cls(len(list(Path(f"/proc/{pid}/fd").iterdir())), procfs.peak(pid))


class Surroundings(Protocol):
    """What a run uses and breaks: the sandbox's servers, or others that the fault asks for."""

    @property
    def postgres(self) -> PostgresServer:
        """The Postgres that takes writes."""

    @property
    def rabbitmq(self) -> RabbitmqServer:
        """RabbitMQ."""

    def isolated(self) -> AbstractContextManager[Isolated]:
        """Return a part for one run alone."""


class Run:
    """What a fault works with. `draw` decides its moments, so that a seed repeats them.

    `settings` are those of `relay setup` and of every relay, beside the usual ones.
    """

    def __init__(
        self, box: Surroundings, isolated: Isolated, directory: Path, *, seed: int, settings: Mapping[str, str]
    ) -> None:
        self.box = box
        self.stage = Stage(isolated, directory)
        self.seed = seed
        self.draw = random.Random(seed)  # noqa: S311 - for repeatable faults, not for secrets
        self.acknowledgement = Acknowledgement()
        """The oracle on the wire."""
        self._listeners: list[Watch] = [self.acknowledgement.broker]
        self.postgres = Proxy(isolated.database_url, self.acknowledgement.postgres)
        """The proxy between the relays and Postgres; the writers connect directly."""
        urls = isolated.amqp_url.split(",")
        self.brokers = [Proxy(url, self._numbered(place, of=len(urls))) for place, url in enumerate(urls)]
        """The proxies between the relays and each node of RabbitMQ; the tap connects directly."""
        self.broker = self.brokers[0]
        """The only one, unless RabbitMQ is a cluster."""
        self.settings = {
            "RELAY_DATABASE_URL": self.postgres.url,
            "RELAY_AMQP_URL": ",".join(broker.url for broker in self.brokers),
            "RELAY_PLUGIN": "wal2json",
            **settings,
        }
        """The settings of every relay here; they override the stage's."""
        self.secrets = {str(urlsplit(url).password) for url in (isolated.database_url, isolated.amqp_url)}
        """Passwords that no log may contain. A fault that makes a password adds it."""
        self.events: list[UUID] = []
        """Events that the fault committed itself, beside the load."""
        self.gone: set[str] = set()
        """Events that only a server had which is gone: they may have been published, and nobody gets them back."""
        self.tap = self.stage.set_up(**settings)
        self.taken: list[Delivery] = []
        """Deliveries that the fault has drained from the tap itself."""
        self.stood_still: float | None = None
        """How many seconds RabbitMQ confirmed nothing, at the longest; None if the fault has not measured it."""
        self._borrowed = ExitStack()
        self._loads: list[Things] = []
        self._usual: dict[Command, Footprint | None] = {}
        self._recovery: Recovery | None = None

    @property
    def relay(self) -> Command:
        """The relay that was started last."""
        return self.relays[-1]

    @property
    def relays(self) -> list[Command]:
        """Every relay that runs, in the order in which they were started."""
        return [each for each in self._usual if each.running]

    def start_relay(self, **settings: str) -> Command:
        """Start a relay, and return at once."""
        relay = self.stage.start("relay", "run", **{**self.settings, **settings})
        self._usual[relay] = None
        return relay

    def streaming_relay(self, seconds: float = 15, /, **settings: str) -> Command:
        """Start a relay, and wait at most `seconds` until it streams from the WAL and events have gone through it."""
        relay = self.start_relay(**settings)
        relay.streams()
        self.flows(seconds=seconds)
        self._usual[relay] = Footprint.of(relay)
        return relay

    def usual(self, relay: Command) -> Footprint | None:
        """Return the footprint of `relay` when it had started to stream; None if the fault did not wait for that."""
        return self._usual[relay]

    def flows(self, count: int = 200, *, seconds: float = 15) -> None:
        """Wait until `count` more messages have been published."""
        self.tap.grows(self.tap.waiting() + count - 1, seconds=seconds)

    def listen(self, watch: Watch) -> None:
        """Pass the traffic between relays and RabbitMQ to `watch`; call it before any relay is started."""
        self._listeners.append(watch)

    def no_storm(self, connections: int = ATTEMPTS) -> None:
        """Fail if relays have requested more than `connections` connections to RabbitMQ."""
        asked = sum(broker.asked for broker in self.brokers)
        assert asked <= connections, f"{asked} connections were requested"

    def _numbered(self, place: int, *, of: int) -> Watch:
        """Return a watch for the proxy at `place`, under which no two connections of all proxies have one number."""

        def watched(connection: int, to_server: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's Watch
            for watch in self._listeners:
                watch(connection * of + place, to_server, data)

        return watched

    def commit(self, count: int, aggregate: str) -> list[UUID]:
        """Commit `count` events of one aggregate in one transaction, as events of the fault itself."""
        events = self.stage.publish_in_one_transaction(count, aggregate)
        self.events += events
        return events

    def borrow(self, thing: AbstractContextManager[T]) -> T:
        """Enter `thing`, and leave it when no relay runs any more."""
        return self._borrowed.enter_context(thing)

    def alter_database(self, statement: LiteralString) -> None:
        """Run an ALTER DATABASE on this run's database; it holds for new sessions."""
        alter(self.stage.isolated.database_url, statement, self.stage.isolated.name)

    def start_load(self) -> None:
        """Start the writers."""
        load = Things(self.stage.isolated.database_url, seed=self.seed + len(self._loads))
        self._loads.append(load)
        load.__enter__()

    def stop_load(self) -> None:
        """Stop the writers; Postgres must run."""
        if self._loads:
            self._loads[-1].stop()

    def move(self, database_url: str) -> None:
        """Let everybody find the database at `database_url` from now on, relays at the address that they know.

        Connections that are open stay.
        """
        self.postgres.redirect(database_url)
        self.stage.move(database_url)
        for load in self._loads:
            load.move(database_url)

    def forget_load(self) -> None:
        """Forget what the writers that were started last have committed: the database no longer has it."""
        self._loads.pop()

    def committed(self) -> list[UUID]:
        """Return the ids of everything that was committed; complete when the load has stopped."""
        return [*(event for load in self._loads for event in load.committed), *self.events]

    def healed(self) -> None:
        """Note that the fault is over: the time of the recovery begins now. Postgres must run."""
        self._recovery = Recovery(self.stage)

    def recovery(self) -> Recovery:
        """Return the recovery; it begins now, if the fault has not called `healed`."""
        if self._recovery is None:
            self.healed()
        assert self._recovery is not None
        return self._recovery

    def end(self) -> None:
        """End everything that runs, except the servers, which must run."""
        if self._recovery is not None:
            self._recovery.close()
        self.stop_load()
        for command in self.stage.commands:
            command.end()
        self._borrowed.close()


@dataclass(frozen=True)
class Fault:
    """One row of the campaign."""

    name: str
    inject: Callable[[Run], None]
    duplicates: int
    """How many deliveries may be duplicates."""
    recovers_within: float = 30.0
    """Seconds from `healed` until the relay has confirmed what was committed then."""
    growth: int = MORE_RESIDENT
    """How many more bytes than under the load alone a relay may have had resident."""
    seeds: int | None = None
    """The most seeds to run it with, if one run takes minutes."""
    servers: Callable[[Sandbox], AbstractContextManager[Surroundings]] = nullcontext
    """What it breaks; the sandbox's own servers, unless given."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of `relay setup` and of every relay."""
    since: int = 0
    """The first major version of Postgres that has what it is about."""

    def lack(self, version: int) -> str | None:
        """Return why it cannot be run with this major version of Postgres; None if it can."""
        return f"needs PostgreSQL {self.since}, and this is {version}" if version < self.since else None


@contextmanager
def running(fault: Fault, box: Sandbox, directory: Path, *, seed: int) -> Iterator[Run]:
    """Yield a run for `fault` with writers at work; a server that it left stopped is started at the end."""
    with ExitStack() as stack:
        servers = stack.enter_context(fault.servers(box))
        isolated = stack.enter_context(servers.isolated())
        run = Run(servers, isolated, directory, seed=seed, settings=fault.settings)
        stack.enter_context(run.postgres)
        for broker in run.brokers:
            stack.enter_context(broker)
        stack.callback(run.end)
        stack.callback(_start, servers)
        run.start_load()
        yield run


def _start(servers: Surroundings) -> None:
    """Start both: the Postgres is the one that takes writes now."""
    servers.rabbitmq.start()
    servers.postgres.start()
