"""`make handover`: the two sources hand over to each other under load, both ways, with several seeds.

A line for each seed and way: what was committed, published by each source, the switches, and what must be zero.
Behind it what the ways lose that are commonly taken: were it nothing, the load would prove nothing.
The outbox itself says what was committed: it is insert only. The tap says what was published.
"""

import logging
import random
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, cast
from urllib.request import urlopen

import psycopg
import typer
from rich.console import Console

import sandbox
from outboxkit.process import commands
from outboxkit.sql.apply import apply
from relay.storage.state import Mode
from sandbox import Sandbox
from sandbox.machine.ports import free
from sandbox.machine.waiting import until
from tests.handover.controls import Controls
from tests.handover.load import OpenThroughout, Writers
from tests.support import oracles
from tests.support.commands import Command
from tests.support.stage import Stage
from tests.support.tap import Tap

logging.getLogger("psycopg").addHandler(logging.NullHandler())

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_console = Console(highlight=False, soft_wrap=True)
_COLUMNS = "{:<22} {:>7} {:>9} {:>8} {:>8} {:>8} {:>7} {:>10} {:>8} {:>6}  {:<4}  {}"
_HEADER = _COLUMNS.format(
    "way",
    "seed",
    "committed",
    "WAL",
    "polling",
    "switches",
    "missing",
    "duplicates",
    "disorder",
    "ghosts",
    "",
    "controls",
)
_TERMINATE = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s"
_DROP = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
_ROWS = """
SELECT id, seq, aggregate_id, aggregate_version, tx, created_at FROM outbox.event WHERE id = ANY(%s::uuid[])
ORDER BY seq LIMIT 3
"""
_SERVER = (
    "ALTER SYSTEM SET max_prepared_transactions = 50",
    "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
    "ALTER SYSTEM SET synchronous_commit = 'local'",
)


class Scene:
    """One run: a database, writers, a tap, and one relay after the other."""

    def __init__(self, stage: Stage, tap: Tap, draw: random.Random, *, seconds: float) -> None:
        self.stage = stage
        self.tap = tap
        self.draw = draw
        self.until = time.monotonic() + seconds
        (self.port,) = free(1)
        self.relay = self.start()
        self.published = {"wal": 0.0, "polling": 0.0}
        self._counted = 0.0
        self.forced = 0
        """Switches that were not in order."""
        self.controls = Controls(stage.isolated.database_url)
        self.losses: dict[str, int] = {}

    def start(self) -> Command:
        """Start a relay."""
        return self.stage.start(
            "relay",
            "run",
            RELAY_HTTP_ADDRESS=f"127.0.0.1:{self.port}",
            RELAY_RETURN_AFTER="1",
            RELAY_SLOTS_PER_HOUR="1000",
            RELAY_POLL_INTERVAL="0.2",
        )

    def kill(self) -> None:
        """Kill the relay, and start another."""
        self.relay.process.kill()
        self.relay.process.wait()
        self.relay = self.start()
        self._counted = 0.0

    def mode(self) -> Mode:
        """Return the source that is stored."""
        return cast("Mode", self.stage.value("SELECT mode FROM relay.checkpoint"))

    def ask(self, to: Mode) -> None:
        """Ask for a source as `relay switch` does, and wait for it."""
        self.stage.query("UPDATE relay.checkpoint SET wanted = %s RETURNING 1", to)
        self.reads(to)

    def reads(self, source: Mode) -> None:
        """Wait until the relay reads `source`, and count what the other one published."""
        before = self.mode()
        until(lambda: self.mode() == source, what=f"the relay reads {source}", seconds=60)
        if before != source:
            self.count(before)

    def count(self, source: Mode) -> None:
        """Count what was published since the last time, for `source`."""
        with suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
            confirmed = 'relay_events_published_total{outcome="confirmed"} '
            total = sum(float(line.removeprefix(confirmed)) for line in lines if line.startswith(confirmed))
            self.published[source] += total - self._counted
            self._counted = total

    def lasts(self, seconds: float) -> bool:
        """Wait so long; return whether the scene goes on."""
        time.sleep(min(seconds, max(0.0, self.until - time.monotonic())))
        return time.monotonic() < self.until


def kept(scene: Scene) -> None:
    """Switch in order, over the slot that is kept, every few seconds; a transaction is open throughout."""
    with OpenThroughout(scene.stage.isolated.database_url):
        while scene.lasts(scene.draw.uniform(1, 4)):
            scene.ask("polling")
            if scene.lasts(scene.draw.uniform(1, 4)):
                scene.ask("wal")
        scene.losses = scene.controls.losses()
    scene.stage.query("UPDATE relay.checkpoint SET wanted = 'auto' RETURNING 1")


def new_slots(scene: Scene) -> None:
    """Drop the slot every quarter of a minute; the relay polls, makes another, and goes back."""
    while scene.lasts(scene.draw.uniform(3, 6)):
        scene.reads("wal")
        scene.controls.hand_over_early(f"{scene.stage.isolated.name}_early")
        drop(scene)
        scene.forced += 1
        scene.reads("polling")
        scene.reads("wal")
    scene.losses = scene.controls.losses()


def killed(scene: Scene) -> None:
    """Switch both ways, with kept and dropped slots, and kill the relay at any moment."""
    while scene.lasts(scene.draw.uniform(0.2, 3)):
        chosen = scene.draw.random()
        scene.count(scene.mode())
        if chosen < 0.3:
            scene.stage.query("UPDATE relay.checkpoint SET wanted = 'polling' RETURNING 1")
        elif chosen < 0.7:
            scene.stage.query("UPDATE relay.checkpoint SET wanted = 'wal' RETURNING 1")
        elif chosen < 0.8:
            drop(scene)
        scene.lasts(scene.draw.uniform(0, 1.5))
        scene.kill()
        scene.forced += 1
    scene.losses = scene.controls.losses()
    scene.stage.query("UPDATE relay.checkpoint SET wanted = 'auto' RETURNING 1")


def drop(scene: Scene) -> None:
    """Drop the slot under the relay, if there is one."""
    until(partial(_dropped, scene), what="the slot is dropped", seconds=30)


def _dropped(scene: Scene) -> bool:
    name = scene.stage.isolated.name
    with psycopg.connect(scene.stage.isolated.database_url, autocommit=True) as connection:
        connection.execute(_TERMINATE, [name])
        with suppress(psycopg.errors.ObjectInUse):
            connection.execute(_DROP, [name])
            return True
    return False


@dataclass(frozen=True)
class Way:
    """One kind of hand-over."""

    name: str
    run: Callable[[Scene], None]
    duplicates: int
    """How many each switch that was not in order may bring."""
    controls: tuple[str, ...]
    """What must lose events here."""


WAYS = (
    Way("kept slot, in order", kept, 0, ("last id", "oldest transaction")),
    Way("new slot, dropped", new_slots, 400, ("last id", "early snapshot")),
    Way("killed at any step", killed, 400, ("last id",)),
)


@app.command()
def campaign(
    ways: Annotated[list[str] | None, typer.Argument(help="Only ways whose names contain one of these.")] = None,
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each way is run with.")] = 3,
    seed: Annotated[int | None, typer.Option(help="The first seed; drawn, unless given.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long one run lasts.")] = 120.0,
) -> None:
    """Hand over under load on a private Postgres and RabbitMQ; fails if anything is missing or out of order."""
    chosen = [way for way in WAYS if not ways or any(name in way.name for name in ways)]
    first = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    failed = 0
    with sandbox.start(schema=_schema) as box:
        with psycopg.connect(box.servers.database_url, autocommit=True) as connection:
            for statement in _SERVER:
                connection.execute(statement)
        box.postgres.stop()
        box.postgres.start()
        _console.print(_HEADER, style="bold")
        for way in chosen:
            for number in range(first, first + seeds):
                failed += not _run(box, way, number, seconds)
    raise typer.Exit(1 if failed else 0)


def _run(box: Sandbox, way: Way, seed: int, seconds: float) -> bool:
    directory = Path(tempfile.mkdtemp(prefix="handover-"))
    try:
        with _scene(box, directory, seed, seconds) as scene:
            broken = _played(scene, way, seed)
    except Exception:  # noqa: BLE001 - it is one line of the campaign
        broken = [traceback.format_exc()]
    for line in broken:
        _console.print(f"  {line}\n  logs: {directory}", style="red", markup=False)
    if not broken:
        shutil.rmtree(directory)
    return not broken


@contextmanager
def _scene(box: Sandbox, directory: Path, seed: int, seconds: float) -> Iterator[Scene]:
    with ExitStack() as stack:
        stage = Stage(stack.enter_context(box.isolated()), directory)
        stack.callback(_end, stage)
        tap = stage.set_up()
        yield Scene(stage, tap, random.Random(seed), seconds=seconds)  # noqa: S311 - for repeatable runs


def _end(stage: Stage) -> None:
    for command in stage.commands:
        command.end()


def _played(scene: Scene, way: Way, seed: int) -> list[str]:
    scene.relay.logged("handed over")  # the first start goes by the same steps
    with scene.controls, Writers(scene.stage.isolated.database_url, seed=seed):
        way.run(scene)
    scene.count(scene.mode())
    committed = {str(row[0]) for row in scene.stage.query("SELECT id FROM outbox.event")}
    deliveries = scene.tap.drain() if until(scene.tap.waiting, what="something is published", seconds=30) else []

    def all_there() -> bool:
        nonlocal deliveries
        if scene.tap.waiting():
            deliveries += scene.tap.drain()
        return committed <= {each.message for each in deliveries}

    with suppress(Exception):
        until(all_there, what="everything has arrived", seconds=60, every=0.5)
    scene.count(scene.mode())
    switches = scene.stage.value("SELECT count(*) FROM relay.handover")
    found = [each.message for each in deliveries]
    missing, ghosts = oracles.lost(committed, found), oracles.ghosts(committed, found)
    duplicates, disorder = oracles.duplicates(deliveries), oracles.out_of_order(deliveries)
    broken = []
    if missing:
        broken.append(f"{len(missing)} missing, the first: {scene.stage.query(_ROWS, list(missing))}")
    if ghosts:
        broken.append(f"{len(ghosts)} ghosts: {sorted(ghosts)[:3]}")
    if disorder:
        broken.append(f"{len(disorder)} out of order: {disorder[:3]}")
    if duplicates > way.duplicates * scene.forced:
        twice = [message for message, count in Counter(found).items() if count > 1]
        broken.append(
            f"{duplicates} duplicates, and {way.duplicates * scene.forced} are allowed, "
            f"the first: {scene.stage.query(_ROWS, twice)}"
        )
    blind = [control for control in way.controls if not scene.losses[control]]
    if blind:
        broken.append(f"the load was too light: {', '.join(blind)} lost nothing")
    if not committed or not switches:
        broken.append("nothing was tested")
    if scene.relay.terminate() != 0:
        broken.append("the relay did not end with 0")
    by = scene.published
    _console.print(
        _COLUMNS.format(
            way.name, seed, len(committed), int(by["wal"]), int(by["polling"]), switches, len(missing), duplicates,
            len(disorder), len(ghosts), "FAIL" if broken else "PASS",
            ", ".join(f"{control} {scene.losses[control]}" for control in way.controls),
        )
    )  # fmt: skip
    return broken


def _schema(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        apply(connection)


if __name__ == "__main__":
    commands.run(app, name="handover")
