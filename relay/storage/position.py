"""The stored position of a relay: `relay.checkpoint`, in the database that it is a position of.

A position means something only together with its identity, so both are stored in one row. An epoch counts the saves.
"""

from dataclasses import asdict, dataclass

from relay.core.position import Lsn, Position, Snapshot
from relay.storage.session import Session


@dataclass(frozen=True, slots=True)
class Identity:
    """What a position in the WAL is a position of."""

    name: str
    """The relay's."""
    slot: str
    plugin: str
    outboxes: list[str]
    """Tables as `schema.table`, message prefixes as `message:prefix`."""
    system_identifier: str
    timeline: int


class StoredPosition:
    """Writes the relay's row."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def save(self, identity: Identity, position: Lsn, published: Snapshot | None) -> None:
        """Store `position`, and the last snapshot all of which is published, if one is known.

        Neither goes back on the same slot of the same system. Raises SourceUnavailable when it cannot be stored now.
        """
        where = {"lsn": str(position), "snapshot": None if published is None else str(published)}
        await self._session.execute("checkpoint_save", asdict(identity) | where)


def columns(position: Position | None) -> dict[str, str | None]:
    """Return the storage form of `position`: an LSN and a snapshot have a column each."""
    return {
        "lsn": str(position) if isinstance(position, Lsn) else None,
        "snapshot": str(position) if isinstance(position, Snapshot) else None,
    }
