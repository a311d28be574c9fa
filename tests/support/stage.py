"""One test's stage: an isolated database and name prefix, the commands that use them, and the oracles' input."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.support import oracles
from tests.support.commands import Command
from tests.support.handlers import EFFECT_TABLE
from tests.support.oracles import Effect
from tests.support.tap import Tap

WINDOW = 100
# A stream that no fence has come back in has no snapshot yet: then nothing is known to be published.
_UNPUBLISHED = (
    "SELECT count(*) FROM outbox.event AS e, relay.checkpoint AS c "
    "WHERE pg_visible_in_snapshot(e.tx, c.snapshot) IS NOT TRUE"
)
SESSIONS = frozenset({"relay", *(f"relay {what}" for what in ("checkpoint", "leader", "parking", "poll", "upkeep"))})
"""The names of an active relay's sessions, once it has polled and streams; for retention it has one more at times."""
_WAITS: LiteralString = """
SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox.event'::regclass
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Verdict:
    """What the oracles counted on a run that broke none of them."""

    committed: int
    delivered: int
    duplicates: int


class Stage:
    """Starts commands with the settings of `isolated`; `end` ends those that still run and prints their logs."""

    def __init__(self, isolated: Isolated, directory: Path) -> None:
        self.isolated = isolated
        self.directory = directory
        self.queue = isolated.queue("tasks")
        self.settings = {
            **_databases(isolated.database_url),
            "RELAY_AMQP_URL": isolated.amqp_url,
            "RELAY_SLOT": isolated.name,
            "RELAY_EXCHANGE": isolated.name,
            "RELAY_HTTP_ADDRESS": "",
            "RELAY_MAX_IN_FLIGHT": str(WINDOW),
            "CONSUMERS_AMQP_URL": isolated.amqp_url,
            "CONSUMERS_EXCHANGE": isolated.name,
            "CONSUMERS_QUEUE": self.queue,
            "CONSUMERS_HANDLERS": "tests.support.handlers",
        }
        self.commands: list[Command] = []
        """Every command that it started, in this order."""
        with psycopg.connect(isolated.database_url) as connection:
            connection.execute(EFFECT_TABLE)

    def move(self, database_url: str) -> None:
        """Ask the database at `database_url` from now on, and give it to each command that is started."""
        self.isolated = replace(self.isolated, database_url=database_url)
        self.settings |= _databases(database_url)

    def start(self, *arguments: str, **settings: str) -> Command:
        """Start a command; `settings` win over the stage's own."""
        return self._start(arguments, settings, stdout=None)

    def start_into(self, stdout: int, *arguments: str) -> Command:
        """Start a command that writes its output to the file descriptor `stdout`."""
        return self._start(arguments, {}, stdout=stdout)

    def run(self, *arguments: str, **settings: str) -> Command:
        """Start a command and wait until it has ended, on a machine that others use too."""
        command = self.start(*arguments, **settings)
        command.ended(seconds=120)
        return command

    def set_up(self, **settings: str) -> Tap:
        """Run `relay setup` and bind a tap; fails if setup fails."""
        setup = self.run("relay", "setup", **settings)
        assert setup.process.returncode == 0, setup.tail()
        return Tap(self.isolated.amqp_url, queue=self.isolated.queue("tap"), exchange=self.isolated.name)

    def consumers(self, count: int, **settings: str) -> list[Command]:
        """Start consumers and wait until they consume."""
        commands = [self.start("consumers", "run", **settings) for _ in range(count)]
        for command in commands:
            command.logged("consuming")
        return commands

    def consumer(self, **settings: str) -> Command:
        """Start one consumer."""
        (command,) = self.consumers(1, **settings)
        return command

    def submit(self, *options: str) -> Command:
        """Start `writers submit` of tasks that append one effect each; their ids go to the log `ids` reads."""
        return self.start("writers", "submit", "--type", "effect", "--ids", str(self._ids), "--json", *options)

    @contextmanager
    def held_back(self, *options: str) -> Iterator[Command]:
        """Do the same, and let it commit nothing before the end of the block, which begins when it is about to.

        What a test breaks in the block is broken for a moment only, and not while a process starts.
        """
        with psycopg.connect(self.isolated.database_url) as connection:
            connection.execute("LOCK TABLE outbox.event IN SHARE MODE")  # whoever reads it goes on
            load = self.submit(*options)
            until(lambda: self.value(_WAITS) or not load.running, what=f"{load.name} writes", seconds=60)
            yield load

    @property
    def _ids(self) -> Path:
        return self.directory / "ids"

    def ids(self) -> list[str]:
        """Return the ids of the tasks that the writers' log says were committed."""
        return self._ids.read_text(encoding="ascii").splitlines() if self._ids.exists() else []

    def effects(self) -> list[Effect]:
        """Return the rows of the effect table."""
        return [Effect(str(task), version) for task, version in self.query("SELECT task_id, version FROM effect")]

    def publish_in_one_transaction(self, count: int, aggregate: str) -> list[UUID]:
        """Commit `count` events of one aggregate, in order; return their ids."""
        rows = self.query(
            "SELECT outbox.publish('bulk', %s, n, 'moved', '{}') FROM generate_series(1, %s) AS n", aggregate, count
        )
        return [row[0] for row in rows]

    def query(self, statement: LiteralString, *parameters: object) -> list[Any]:
        """Query the database in a session of its own, since a test may have ended any other."""
        with psycopg.connect(self.isolated.database_url, autocommit=True) as connection:
            return connection.execute(statement, parameters).fetchall()

    def value(self, statement: LiteralString, *parameters: object) -> Any:  # noqa: ANN401 - one column of any type
        """Query the database for one value."""
        return self.query(statement, *parameters)[0][0]

    def applied(self, count: int, *, seconds: float = 60) -> None:
        """Wait until the effect table has `count` rows or more; fails if it has not grown for `seconds`."""
        rows = 0
        while rows < count:
            before = rows
            rows = until(
                partial(self._more_effects, than=before),
                what=f"more than {before} of {count} tasks applied",
                seconds=seconds,
            )

    def _more_effects(self, *, than: int) -> int:
        """Return how many effects there are, if there are more than that; else 0."""
        rows: int = self.value("SELECT count(*) FROM effect")
        return rows if rows > than else 0

    def confirmed(self, *, seconds: float = 60) -> None:
        """Wait until the relay has confirmed everything that is in the WAL now."""
        end = self.value("SELECT pg_current_wal_lsn()::text")
        until(
            lambda: self.value(
                "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                end,
                self.isolated.name,
            ),
            what=f"the slot has passed {end}",
            seconds=seconds,
        )

    def published(self, *, seconds: float = 30) -> None:
        """Wait until all that is committed is published, in terms of the stored snapshot, whatever the relay reads."""
        until(lambda: self.value(_UNPUBLISHED) == 0, what="everything is published", seconds=seconds)

    def judge(self, tap: Tap, events: Sequence[UUID] = ()) -> Verdict:
        """Ask the oracles about everything that was committed, tasks and other events; fails if one is broken."""
        tasks, others = self.ids(), [str(event) for event in events]
        effects, deliveries = self.effects(), tap.drain()
        applied = [effect.task for effect in effects]
        published = [delivery.message for delivery in deliveries if delivery.aggregate_type != "task"]
        broken = {
            "tasks lost": oracles.lost(tasks, applied),
            "tasks applied that nobody committed": oracles.ghosts(tasks, applied),
            "tasks applied again": oracles.applied_again(effects),
            "events lost": oracles.lost(others, published),
            "events published that nobody committed": oracles.ghosts(others, published),
            "events out of order": oracles.out_of_order(deliveries),
            "what an audit finds": self.audited(),
        }
        assert not any(broken.values()), {name: found for name, found in broken.items() if found}
        assert tasks or events, "nothing was committed, so nothing was tested"
        return Verdict(len(tasks) + len(events), len(deliveries), oracles.duplicates(deliveries))

    def audited(self) -> dict[str, object]:
        """Return what `relay audit` says is missing, has no row, or is changed, after everything was confirmed."""
        audit = self.run(
            "relay", "audit", "--since", "1d", "--bucket", "1d", "--json", RELAY_DATABASE_URL=self.isolated.database_url
        )
        assert audit.stdout, audit.tail()
        document = json.loads(audit.stdout)
        return {name: document[name] for name in ("missing", "extra", "changed") if document[name]}

    def end(self) -> None:
        """End every command and print the last lines of its log; pytest shows them if the test failed."""
        for command in self.commands:
            command.end()
            print(command.tail())  # noqa: T201 - pytest captures it

    def _start(self, arguments: Sequence[str], settings: Mapping[str, str], *, stdout: int | None) -> Command:
        name = f"{len(self.commands):02}-{arguments[0]}"
        owner = f"{arguments[0].upper()}_"
        ours = {name: value for name, value in self.settings.items() if name.startswith(owner)}
        command = Command(name, arguments, {**ours, **settings}, self.directory, stdout=stdout)
        self.commands.append(command)
        return command


def _databases(url: str) -> dict[str, str]:
    return {f"{owner}_DATABASE_URL": url for owner in ("RELAY", "CONSUMERS", "WRITERS")}
