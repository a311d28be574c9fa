"""The stored position of a relay: `relay.checkpoint`, in the database that it is a position of.

A position means something only together with its identity, so both are stored in one row. Each write counts the epoch
up, and is refused if the row is not the one that this process wrote before, or if the server was started again: a
database can go back in time (a restored copy, a lagging standby), and another relay may have taken over. What the
process remembers counts under the same condition.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from relay.core import evidence
from relay.core.errors import OutboxChanged, PositionLost
from relay.core.position import Lsn, PollPosition, Position
from relay.storage.facts import Facts, Owner
from relay.storage.sessions.session import Session
from relay.storage.state import State

_AGAIN = "the relay reads the stored position, and goes on from there by itself"


@dataclass(frozen=True, slots=True)
class _Written:
    """The row as this process wrote it, and on what."""

    epoch: int
    position: str
    attempted: tuple[int, str] | None
    """Epoch and position of a save without an answer: it may have taken place. Its position is not that of the row."""
    system_identifier: str
    server_started_at: datetime
    relations: str | None


@dataclass(frozen=True, slots=True)
class _Saved:
    """The columns of sql/queries/checkpoint_save.sql."""

    epoch: int | None
    restarted: bool
    changed: bool
    found_epoch: int | None


class StoredPosition:
    """Writes the row of `owner`, and with each position what was confirmed since the one before it."""

    def __init__(self, session: Session, owner: Owner, confirmed: evidence.Evidence) -> None:
        self._session = session
        self._owner = owner
        self._confirmed = confirmed
        self._written: _Written | None = None
        self._saving = asyncio.Lock()

    def wrote(self, facts: Facts) -> bool:
        """Return whether the stored row is the very one that this process wrote, and all it depends on is unchanged."""
        written = self._written
        if written is None:
            return False
        row = facts.checkpoint_epoch == written.epoch or (
            written.attempted is not None and (facts.checkpoint_epoch, _position(facts)) == written.attempted
        )
        return row and (facts.server_started_at, facts.system_identifier, facts.relations) == (
            written.server_started_at, written.system_identifier, written.relations
        )  # fmt: skip

    async def claim(self, facts: Facts, *, plugin: str | None) -> None:
        """Note in the row that this process reads now, from the position in `facts`; nobody else can store then.

        `plugin` is that of the slot that is streamed; None leaves what the row has.

        Raises PositionLost if the row was written meanwhile, and SourceUnavailable if it cannot be done now.
        """
        parameters = {
            "name": self._owner.relay,
            "outboxes": self._owner.outboxes,
            "epoch": facts.checkpoint_epoch,
            "server_started_at": facts.server_started_at,
            "plugin": plugin,
        }
        known = self.wrote(facts)
        epoch = await self._session.fetch(scalar_row, "checkpoint_claim", parameters)
        if epoch is None:
            self._written = None
            raise PositionLost("the stored position has changed since it was read", remedy=_AGAIN)
        if not known:  # what is behind the stored position is published once more, unless the database has lost it
            self._confirmed.forget()
        self._written = _Written(
            epoch=epoch,
            position=_position(facts),
            attempted=None,
            system_identifier=facts.system_identifier,
            server_started_at=facts.server_started_at,
            relations=facts.relations,
        )  # fmt: skip

    async def save(self, state: State) -> None:
        """Store `state`.

        Raises PositionLost if the row is not the one that this process wrote, or the server is not the one that it read
        from; OutboxChanged if the outbox has other relations now; SourceUnavailable if it cannot be stored now.
        """
        async with self._saving:  # a stop stores once more, maybe while the position is being stored
            await self._save(state)

    async def _save(self, state: State) -> None:
        written, position = self._written, str(state.position)
        if written is None:
            raise PositionLost("the stored position is not this relay's", remedy=_AGAIN)
        if position != written.position:
            self._written = replace(written, attempted=(written.epoch + 1, position))
        confirms = self._confirmed.take()
        saving = saved_as(
            self._owner,
            state,
            confirms,
            epoch=written.epoch,
            server_started_at=written.server_started_at,
            relations=written.relations,
        )
        stored = False
        try:
            saved = await self._session.fetch(class_row(_Saved), "checkpoint_save", saving)
            assert saved is not None  # noqa: S101 - the query always returns one row
            if saved.epoch is None:
                self._written = written
                raise self._refused(saved, written, position)
            stored = True
        finally:
            if not stored:
                self._confirmed.give_back(confirms)
        self._written = replace(written, epoch=saved.epoch, position=position, attempted=None)

    def _refused(self, saved: _Saved, written: _Written, position: str) -> PositionLost | OutboxChanged:
        if saved.restarted:
            return PositionLost("the server was started again since the stream began", remedy=_AGAIN)
        if saved.found_epoch != written.epoch:
            return PositionLost(
                f"the stored position was written by somebody else: its epoch is {saved.found_epoch}, "
                f"and this relay wrote {written.epoch}",
                remedy=_AGAIN,
            )
        self._written = None
        if saved.changed:
            return outbox_changed()
        return PositionLost(
            f"position {position} is ahead of the server's WAL, or behind the stored position", remedy=_AGAIN
        )


def saved_as(  # noqa: PLR0913 - the columns of a row
    owner: Owner,
    state: State,
    confirms: evidence.Confirms,
    *,
    epoch: int | None,
    server_started_at: datetime,
    relations: str | None,
) -> dict[str, object]:
    """Return the parameters of sql/queries/checkpoint_save.sql."""
    return {
        "name": owner.relay,
        "outbox": owner.table,
        "epoch": epoch,
        "server_started_at": server_started_at,
        "relations": relations,
        **state.parameters(),
        **confirms.parameters(),
    }


def outbox_changed() -> OutboxChanged:
    """Return the incident of an outbox whose partitions are not those that are streamed."""
    return OutboxChanged(
        "partitions of the outbox table were attached, detached or renamed while it was streamed",
        remedy="the relay reads again from the stored position, with the partitions of now",
    )


def columns(position: Position | None) -> dict[str, str | None]:
    """Return the storage form of `position`: an LSN and a snapshot have a column each."""
    return {
        "lsn": str(position) if isinstance(position, Lsn) else None,
        "snapshot": str(position.snapshot) if isinstance(position, PollPosition) else None,
    }


def _position(facts: Facts) -> str:
    return str(facts.state and facts.state.position)
