"""The state of the replication slot, for the guardian."""

from psycopg.rows import class_row

from relay.core.errors import SourceRefused
from relay.storage.facts import SlotState
from relay.storage.sessions.session import Session


class SlotView:
    """Looks at `slot`, and at what is parked of `relay`."""

    def __init__(self, session: Session, *, slot: str, relay: str) -> None:
        self._session = session
        self._about = {"slot": slot, "name": relay}

    async def state(self) -> SlotState:
        """Return what the slot retains and whether it is safe; raises SourceUnavailable or SourceRefused."""
        state = await self._session.fetch(class_row(SlotState), "slot_watch", self._about)
        if state is None:
            raise SourceRefused("Postgres gave no state", remedy="this is a bug in sql/queries/slot_watch.sql")
        return state
