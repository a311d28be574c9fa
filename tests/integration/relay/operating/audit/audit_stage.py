"""An outbox whose relay is played by statements, so that each test decides what was confirmed, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from outboxkit import sql
from sandbox import Isolated
from tests.integration.relay.stage import Said, call, environment, one

WRITE: LiteralString = """
SELECT outbox.publish(%s, n::text, 1, %s, '{}')::text FROM generate_series(1, %s) AS n
"""
NUMBERS: LiteralString = "SELECT seq, id::text FROM outbox.event WHERE id = ANY (%s::uuid[])"
PUBLISHED: LiteralString = """
UPDATE relay.checkpoint SET snapshot = pg_current_snapshot(), streamed = '{}', epoch = epoch + 1,
    recorded_epoch = epoch + 1, recorded_since = coalesce(recorded_since, snapshot) WHERE name = 'relay'
"""


@dataclass(frozen=True)
class Played:
    """The outbox of `isolated`; relay 'relay' is set up, and no process runs."""

    isolated: Isolated

    @property
    def url(self) -> str:
        return self.isolated.database_url

    def note(self) -> None:
        """Note this moment as a position of the past."""
        assert one(self.url, "SELECT relay.note_position('relay', '0 s')")

    def write(self, count: int, aggregate: str = "order", event: str = "paid") -> list[str]:
        """Commit some events, and return their ids."""
        with psycopg.connect(self.url) as connection:
            return [row[0] for row in connection.execute(WRITE, [aggregate, event, count])]

    def confirm(self, ids: Sequence[str], *, relay: str = "relay") -> None:
        """Record the confirms of events, as the relay does."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(NUMBERS, [list(ids)]).fetchall()
            assert len(rows) == len(ids)
            connection.execute(
                sql.query("confirmed_note"),
                {"relay": relay, "confirmed_seqs": [row[0] for row in rows], "confirmed_ids": [row[1] for row in rows]},
            )

    def publish(self, ids: Sequence[str] = ()) -> None:
        """Say that everything that is committed was published, of which `ids` were confirmed."""
        if ids:
            self.confirm(ids)
        with psycopg.connect(self.url) as connection:
            assert connection.execute(PUBLISHED).rowcount == 1

    def audit(self, *arguments: str) -> Said:
        return call(environment(self.isolated), "audit", "--json", "--grace", "1s", *arguments)

    def run(self, statement: LiteralString, *parameters: object) -> int:
        """Run a statement; return how many rows it changed."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(statement, parameters).rowcount
