"""What the server says before the relay streams: its settings, the slot, the stored position, the outbox table."""

from psycopg.rows import class_row, kwargs_row, scalar_row

from outboxkit.sql import apply as schema
from relay.core.errors import SourceRefused
from relay.storage.facts import Facts, TableFacts, table_facts
from relay.storage.sessions.session import Session


class Server:
    """Asks about the relay `name`, its `slot` and the outbox `table` (`schema.table`; None: messages)."""

    def __init__(self, session: Session, *, name: str, slot: str, table: str | None) -> None:
        self._session = session
        self._name = name
        self._slot = slot
        self._table = table

    async def facts(self) -> Facts:
        """Return what must be known before a stream opens; raises SourceUnavailable or SourceRefused."""
        schema.require_current(await self._session.fetch(scalar_row, "schema_record_list", {}) or {})
        parameters = {"slot": self._slot, "name": self._name, "table": self._table}
        facts = await self._session.fetch(class_row(Facts), "source_facts", parameters)
        if facts is None:
            raise SourceRefused("Postgres gave no facts", remedy="this is a bug in sql/queries/source_facts.sql")
        return facts

    async def holder(self) -> int | None:
        """Return the pid of the server process that streams from the slot now; raises SourceUnavailable."""
        return await self._session.fetch(scalar_row, "slot_holder", {"slot": self._slot})

    async def pooled(self) -> bool:
        """Return whether a connection pooler is between the relay and Postgres."""
        return await self._session.pooled()

    async def table(self) -> TableFacts:
        """Return what the outbox table and the slot's publication are, and whether they exist."""
        schema, _, table = (self._table or "").partition(".")
        asked = {"schema": schema, "table": table, "publication": self._slot}
        facts = await self._session.fetch(kwargs_row(table_facts), "outbox_table", asked)
        if facts is None:
            raise SourceRefused("Postgres gave no facts", remedy="this is a bug in sql/queries/outbox_table.sql")
        return facts
