"""What every source needs before it is opened: a primary, and a stored position. Pure."""

from relay.core.errors import RepairNeeded, SourceRefused
from relay.core.position import Snapshot
from relay.storage.facts import Facts
from relay.storage.state import State


def require_primary(facts: Facts, why: str) -> None:
    """Raise RepairNeeded if the server is a standby; `why` says what a standby cannot do."""
    if facts.in_recovery:
        raise RepairNeeded(
            f"the server is a standby, {why}",
            remedy="name the primary in RELAY_DATABASE_URL, or add target_session_attrs=read-write; a running relay "
            "goes on by itself when this server is promoted",
        )


def require_state(facts: Facts, relay: str) -> State:
    """Return the stored state; raises SourceRefused if there is none."""
    if facts.state is None:
        raise no_position(relay)
    return facts.state


def require_snapshot(state: State) -> Snapshot:
    """Return the stored snapshot; raises SourceRefused if an older version stored only a position of the WAL."""
    if state.snapshot is None:
        raise SourceRefused(
            "no snapshot is stored: it is not known what was published in terms of the table",
            remedy="let the relay stream for a few seconds with RELAY_SOURCE=wal or auto: it stores one then",
        )
    return state.snapshot


def no_position(relay: str) -> SourceRefused:
    """Return the problem of a relay that was never set up, or has another name."""
    return SourceRefused(f"relay {relay!r} has no stored position", remedy="run `relay setup`, or correct RELAY_NAME")
