"""A relay that is set up on its own database and exchange, and its commands, run in this process."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from typer.testing import CliRunner, Result

from outboxkit.errors import Problem
from relay.operating.cli import app
from relay.settings import RelaySettings
from relay.sources.wal.source import WalSource
from relay.sources.wal.stream import WalStream
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.support.stage import Stage

STREAMS: LiteralString = """
UPDATE relay.checkpoint AS c SET mode = 'wal', lsn = s.confirmed_flush_lsn, plugin = s.plugin
FROM pg_replication_slots AS s WHERE s.slot_name = %s AND c.slot = s.slot_name
"""


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    output: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.output)


def settings(isolated: Isolated, **changes: object) -> RelaySettings:
    """Return the settings of a relay on `isolated`."""
    return RelaySettings.model_validate(
        {
            "database_url": isolated.database_url,
            "amqp_url": isolated.amqp_url,
            "slot": isolated.name,
            "exchange": isolated.name,
            "http_address": "",
            **changes,
        }
    )


def environment(isolated: Isolated, **changes: str) -> dict[str, str]:
    """Return the same as variables."""
    return {
        "RELAY_DATABASE_URL": isolated.database_url,
        "RELAY_AMQP_URL": isolated.amqp_url,
        "RELAY_SLOT": isolated.name,
        "RELAY_EXCHANGE": isolated.name,
        "RELAY_HTTP_ADDRESS": "",
        **changes,
    }


def call(variables: Mapping[str, str], *arguments: str, answer: str | None = None) -> Said:
    """Run a command of the relay, as `commands.run` would end it."""
    result: Result = CliRunner().invoke(app, arguments, input=answer, env=dict(variables))
    match result.exception:
        case None | SystemExit():
            return Said(result.exit_code, result.stdout)
        case Problem() as problem:
            return Said(problem.exit_code, str(problem))
        case error:
            raise error


@contextmanager
def staged(isolated: Isolated, directory: Path) -> Iterator[Stage]:
    """Yield a stage whose processes end with the block."""
    stage = Stage(isolated, directory)
    try:
        yield stage
    finally:
        stage.end()


def one(database_url: str, statement: LiteralString, *parameters: object) -> Any:  # noqa: ANN401 - one column of any type
    """Ask the database for one value."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return row[0]


def streams(isolated: Isolated) -> None:
    """Store the position of a relay that has come to stream from its slot: it has polled, and there was nothing."""
    with psycopg.connect(isolated.database_url) as connection:
        assert connection.execute(STREAMS, [isolated.name]).rowcount == 1


@asynccontextmanager
async def stream(
    source: WalSource, server: Server, positions: StoredPosition | None = None
) -> AsyncIterator[WalStream]:
    """Open `source` from the stored position, as the active relay does; `positions` is claimed first."""
    facts, table = await server.facts(), await server.table()
    assert facts.state is not None
    if positions is not None:
        await positions.claim(facts, plugin=facts.plugin)
    async with source.open(facts, table, facts.state) as opened:
        yield opened


def own_address(database_url: str) -> str:
    """Return the address of this machine as the server sees it, which a container does not see as loopback."""
    return str(one(database_url, "SELECT host(inet_client_addr())"))


def publish(database_url: str, *aggregates: str) -> list[str]:
    """Commit one event for each of `aggregates`, all in one transaction; return their ids."""
    statement = "SELECT outbox.publish('order', id, 1, 'paid', '{}')::text FROM unnest(%s::text[]) AS id"
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute(statement, [list(aggregates)])]


@contextmanager
def held(isolated: Isolated) -> Iterator[None]:
    """Stream from the slot, as a relay does."""
    start = f'START_REPLICATION SLOT "{isolated.name}" LOGICAL 0/0'
    walsender = psycopg.connect(
        isolated.database_url, autocommit=True, replication="database", application_name="other"
    )
    with closing(walsender) as connection:
        connection.pgconn.send_query(start.encode())
        query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
        until(lambda: one(isolated.database_url, query, isolated.name), what="the slot is held", seconds=60)
        yield
