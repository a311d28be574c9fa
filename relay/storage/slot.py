"""The state of the replication slot, for the guardian."""

from psycopg.rows import class_row

from relay.core.errors import SourceRefused
from relay.storage.facts import SlotState
from relay.storage.session import Session


class SlotView:
    """Looks at `slot`."""

    def __init__(self, session: Session, *, slot: str) -> None:
        self._session = session
        self._slot = slot

    async def state(self) -> SlotState:
        """Return what the slot retains and whether it is safe; raises SourceUnavailable or SourceRefused."""
        state = await self._session.fetch(class_row(SlotState), "slot_watch", {"slot": self._slot})
        if state is None:
            raise SourceRefused("Postgres gave no state", remedy="this is a bug in sql/queries/slot_watch.sql")
        return state
