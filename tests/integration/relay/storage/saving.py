"""A session that changes what is saved, or loses the answer."""

from collections.abc import Mapping
from types import MappingProxyType

from psycopg.rows import AsyncRowFactory

from relay.core.errors import SourceUnavailable
from relay.storage.sessions.deadline import SECONDS
from relay.storage.sessions.session import Row, Session


class Saving(Session):
    """A session whose saves are sent with `sent` changed; with `answered` false, they take place without an answer."""

    sent: Mapping[str, object] = MappingProxyType({})
    answered = True

    async def fetch(
        self,
        row_factory: AsyncRowFactory[Row],
        query: str,
        parameters: Mapping[str, object],
        *,
        seconds: float = SECONDS,
    ) -> Row | None:
        saves = query == "checkpoint_save"
        changed = {**parameters, **self.sent} if saves else parameters
        row = await super().fetch(row_factory, query, changed, seconds=seconds)
        if saves and not self.answered:
            raise SourceUnavailable("the connection broke", remedy="check the network")
        return row
