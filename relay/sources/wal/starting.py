"""Whether a stream may start, and where. Pure: it judges facts that others have asked for."""

from relay.core.errors import SlotHeld, SlotMissing, SourceRefused
from relay.core.position import Lsn
from relay.storage.facts import Facts, System

PLUGINS = ("wal2json", "pgoutput")


def check(facts: Facts, slot: str, *, plugin: str) -> str:
    """Return the slot's output plugin; raise SourceRefused, SlotMissing or SlotHeld for what would stop a stream.

    `plugin` is the one that was asked for, or `auto` for whatever the slot has.
    """
    if facts.server_encoding != "UTF8":
        raise SourceRefused(
            f"the database's encoding is {facts.server_encoding}",
            remedy="the relay needs UTF8: move to such a database",
        )
    if facts.slot is None:
        raise SlotMissing(
            f"replication slot {slot!r} does not exist",
            remedy="run `relay setup`"
            if facts.checkpoint_lsn is None
            else f"it was lost: events after {facts.checkpoint_lsn} may be unpublished; `relay setup` says what to do",
        )
    known = PLUGINS if plugin == "auto" else (plugin,)
    if facts.slot_database != facts.database or facts.plugin is None or facts.plugin not in known:
        raise SourceRefused(
            f"replication slot {slot!r} is for {facts.plugin} in database {facts.slot_database}",
            remedy=f"name another with RELAY_SLOT; the relay needs one for {' or '.join(known)} "
            f"in database {facts.database}",
        )
    if facts.wal_status == "lost":
        raise SlotMissing(
            f"replication slot {slot!r} is lost: Postgres removed WAL that it needed (max_slot_wal_keep_size)",
            remedy="run `relay setup`, which says what may have been missed and how to go on",
        )
    if facts.holder_pid is not None:
        raise SlotHeld(
            f"replication slot {slot!r} is held by {facts.holder_name!r}, pid {facts.holder_pid}"
            + (f", since {facts.holder_since:%Y-%m-%d %H:%M:%S %Z}" if facts.holder_since else ""),
            remedy="this relay stands by and takes over when the slot is free",
        )
    return facts.plugin


def start_position(facts: Facts, system: System, slot: str, after: Lsn | None) -> Lsn:
    """Return where to stream from: the furthest position that is known to be confirmed on this very server.

    A crash of Postgres sets the slot's own position back, so the stored one counts when it is further. Raises
    SourceRefused when the stored position belongs to another cluster, lies ahead of the server's WAL, or belongs to
    another slot that ends before this one begins.
    """
    confirmed = Lsn.parse(facts.confirmed_flush_lsn or "0/0")
    if facts.checkpoint_lsn is None:
        return max(confirmed, after or confirmed)
    stored = Lsn.parse(facts.checkpoint_lsn)
    if facts.checkpoint_system != system.identifier:
        raise SourceRefused(
            f"the checkpoint was stored on system {facts.checkpoint_system}, and this is {system.identifier}: "
            "a dump and restore renumbers the WAL",
            remedy="run `relay setup --accept-gap` to start from the new slot, after comparing what was published",
        )
    if stored > system.end:
        raise SourceRefused(
            f"the checkpoint {stored} is ahead of the server's WAL, which ends at {system.end}",
            remedy="this server lost WAL that was already published; run `relay setup --accept-gap` to go on "
            "from its slot",
        )
    if facts.checkpoint_slot != slot and confirmed > stored:
        raise SourceRefused(
            f"the checkpoint {stored} belongs to slot {facts.checkpoint_slot!r}, and {slot!r} begins after it, "
            f"at {confirmed}",
            remedy=f"set RELAY_SLOT={facts.checkpoint_slot}, or run `relay setup --accept-gap`",
        )
    return max(confirmed, stored, after or confirmed)
