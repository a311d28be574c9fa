"""Whether a stream may start, and where. Pure: it judges facts that others have asked for."""

from relay.core.errors import PluginRefused, SlotHeld, SlotLost, SlotMissing, SlotMoved, SourceRefused
from relay.core.position import Lsn
from relay.sources.preconditions import no_position, require_primary
from relay.sources.wal.ownership import compare, gap, require_position, require_slot
from relay.storage.facts import Facts, Owner

PLUGINS = ("wal2json", "pgoutput")


def plugin_of(facts: Facts, owner: Owner, *, plugin: str) -> str:
    """Return the output plugin of the slot; raise SourceRefused or SlotMissing if it cannot be streamed for `owner`.

    `plugin` is the one that was asked for, or `auto` for whatever the slot has.
    """
    require_primary(facts, "which takes no positions")
    if facts.server_encoding != "UTF8":
        raise SourceRefused(
            f"the database's encoding is {facts.server_encoding}",
            remedy="the relay needs UTF8: move to such a database",
        )
    require_slot(facts, owner)
    require_position(facts, owner)
    if facts.slot is None:
        raise SlotMissing(
            f"replication slot {owner.slot!r} does not exist",
            remedy="run `relay setup`"
            if facts.checkpoint_lsn is None
            else f"it was lost: events after {facts.checkpoint_lsn} may be unpublished; `relay setup` says what to do",
        )
    require_plugin(facts, owner, plugin=plugin)
    if facts.wal_status == "lost":
        raise SlotLost(
            f"replication slot {owner.slot!r} is lost: Postgres removed WAL that it needed (max_slot_wal_keep_size)",
            remedy="run `relay setup`, which says what may have been missed and how to go on",
        )
    return str(facts.plugin)


def require_plugin(facts: Facts, owner: Owner, *, plugin: str) -> None:
    """Raise PluginRefused if the slot was made with another plugin than `plugin`, which may be `auto`."""
    known = PLUGINS if plugin == "auto" else (plugin,)
    if facts.plugin not in known:
        raise PluginRefused(
            f"replication slot {owner.slot!r} was made with {facts.plugin}, and the relay needs {' or '.join(known)}",
            remedy=other_plugin(facts.plugin, owner, stored=facts.state is not None),
        )


def other_plugin(plugin: str | None, owner: Owner, *, stored: bool) -> str:
    """Return what to do about a slot of another plugin.

    A relay with a stored position keeps its name: under another name it has none, and begins with what commits then.
    """
    if plugin in PLUGINS:
        return f"set RELAY_PLUGIN={plugin}"
    drop = "if nobody else uses the slot, run `relay slot drop`, then `relay setup`"
    if not stored:
        return f"{drop}; otherwise set RELAY_NAME and RELAY_SLOT to other names, then run `relay setup`"
    name = owner.relay.replace("'", "''")
    return (
        f"{drop}; otherwise stop the relay, run UPDATE relay.checkpoint SET slot = 'new' WHERE name = '{name}', set "  # noqa: S608 - a remedy
        "RELAY_SLOT=new, then run `relay setup`"
    )


def require_free(facts: Facts, owner: Owner) -> None:
    """Raise SlotHeld, with the holder's name, if the slot is in use."""
    if facts.holder_pid is not None:
        raise SlotHeld(
            f"replication slot {owner.slot!r} is held by {facts.holder_name!r}, pid {facts.holder_pid}"
            + (f", since {facts.holder_since:%Y-%m-%d %H:%M:%S %Z}" if facts.holder_since else ""),
            remedy="this relay stands by and takes over when the slot is free",
        )


def start_position(facts: Facts, owner: Owner, after: Lsn | None) -> Lsn:
    """Return where to stream from: the stored position, or `after`, which this process has confirmed, if it is further.

    A position is stored before it is reported to the slot. So a slot that is ahead of the stored position was moved by
    somebody else, or made again: SlotMoved is raised, with what is known of the gap. Raises SourceRefused when there is
    no stored position, or when it lies ahead of the server's WAL.
    """
    if facts.checkpoint_lsn is None and facts.state is not None:
        raise SourceRefused(
            f"relay {owner.relay!r} has not streamed from replication slot {owner.slot!r} yet: until then, it polls",
            remedy="let `relay run` go on until `relay status` says mode wal",
        )
    if facts.checkpoint_lsn is None:
        raise no_position(owner.relay)
    stored, confirmed, end = map(Lsn.parse, (facts.checkpoint_lsn, facts.confirmed_flush_lsn or "0/0", facts.wal_end))
    if stored > end:
        raise SourceRefused(
            f"the stored position {stored} is ahead of the server's WAL, which ends at {end}: this server lost "
            "WAL that was already published",
            remedy=f"{compare(owner)}, then run `relay setup --accept-gap` to go on from where the slot stands",
        )
    if confirmed > stored:
        if facts.checkpoint_database_oid is None and confirmed <= end:
            return max(confirmed, after or confirmed)  # the version before this one reported first
        raise SlotMoved(
            f"replication slot {owner.slot!r} was moved or made again: it begins at {confirmed}, and events were "
            f"published up to {stored}, stored at {facts.checkpoint_at:%Y-%m-%d %H:%M:%S %Z}; the slot does not have "
            f"the {confirmed - stored} bytes of WAL between",
            remedy=gap(owner, "go on from where the slot stands"),
        )
    if None not in {facts.plugin, facts.checkpoint_plugin} and facts.plugin != facts.checkpoint_plugin:
        raise SlotMoved(
            f"the position was stored for a slot of {facts.checkpoint_plugin}, and {owner.slot!r} was made again, with "
            f"{facts.plugin}",
            remedy=gap(owner, "go on from where the slot stands"),
        )
    return max(stored, after or stored)
