"""Checks of the server's limits: free slots and WAL senders, retained WAL, timeouts. Pure."""

from outboxkit.checks.finding import Check, Verdict, fail, ok, warn
from relay.operating.check.judging.postgres.server import Server
from relay.operating.display import size

# So long at most may a standby wait for a relay that vanished.
_SENDER_TIMEOUT_MS = 300_000


def free_slots(server: Server) -> Verdict:
    """Judge whether there is a free slot for the relay, and for a temporary slot of a command."""
    total = server.number("max_replication_slots") or 0
    free = total - server.slots
    facts = {"max_replication_slots": total, "used": server.slots}
    remedy = "raise max_replication_slots and restart Postgres, or drop an unused slot of pg_replication_slots"
    if free <= 0 and not server.slot_exists:
        return fail(f"all {total} replication slots are in use", remedy=remedy, **facts)
    if free <= 0:
        return warn(
            f"all {total} replication slots are in use: `relay status`, `tail` and `slot skip` need a temporary one",
            remedy=remedy,
            **facts,
        )
    return ok(f"{free} of {total} replication slots are free", **facts)


def free_senders(server: Server) -> Verdict:
    """Judge whether there is a free WAL sender for a relay."""
    total = server.number("max_wal_senders") or 0
    free = total - server.senders
    facts = {"max_wal_senders": total, "used": server.senders}
    remedy = "raise max_wal_senders and restart Postgres"
    if free <= 0 and not server.slot_held:
        return fail(f"all {total} WAL senders are in use", remedy=remedy, **facts)
    if free <= 0:
        return warn(f"all {total} WAL senders are in use: a standby could not take over", remedy=remedy, **facts)
    return ok(f"{free} of {total} WAL senders are free", **facts)


def slot_wal_limit(server: Server) -> Verdict:
    """Judge whether a relay that is down can fill the disk."""
    limit = server.number("max_slot_wal_keep_size")
    if limit is None or limit < 0:
        return warn(
            "max_slot_wal_keep_size is unlimited: while the relay is down, WAL can fill the server's disk",
            remedy="set max_slot_wal_keep_size to what the disk can hold, and an alert well below that",
            max_slot_wal_keep_size=limit,
        )
    return ok(f"a slot may retain {size(limit << 20)} of WAL", max_slot_wal_keep_size=limit)


def idle_slot_timeout(server: Server) -> Verdict:
    """Judge whether Postgres invalidates the slot of a relay that is down (PostgreSQL 18)."""
    seconds = server.number("idle_replication_slot_timeout")
    if seconds:
        return warn(
            f"idle_replication_slot_timeout is {seconds} s: the slot is lost if the relay is down for longer",
            remedy="set it to 0, or to longer than any outage; max_slot_wal_keep_size limits the WAL",
            idle_replication_slot_timeout=seconds,
        )
    return ok("an idle slot is kept", idle_replication_slot_timeout=seconds)


def sender_timeout(server: Server) -> Verdict:
    """Judge how soon Postgres frees the slot of a relay that vanished."""
    milliseconds = server.number("wal_sender_timeout") or 0
    remedy = "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf()"
    if milliseconds == 0:
        return warn(
            "wal_sender_timeout is off: a relay that vanishes holds the slot until TCP gives up",
            remedy=remedy,
            wal_sender_timeout=0,
        )
    if milliseconds > _SENDER_TIMEOUT_MS:
        return warn(
            f"wal_sender_timeout is {milliseconds / 1000:g} s: a standby takes over only after that",
            remedy=remedy,
            wal_sender_timeout=milliseconds,
        )
    return ok(f"wal_sender_timeout is {milliseconds / 1000:g} s", wal_sender_timeout=milliseconds)


CHECKS = (
    Check("postgres.free_slots", free_slots),
    Check("postgres.free_senders", free_senders),
    Check("postgres.slot_wal_limit", slot_wal_limit),
    Check("postgres.idle_slot_timeout", idle_slot_timeout),
    Check("postgres.sender_timeout", sender_timeout),
)
