"""What is checked of the Postgres server: its version, settings and free places, and who would be in the way. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.operating.check.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.display import size

# outbox.publish has a body that Postgres parses when it is created: https://www.postgresql.org/docs/14/release-14.html
_OLDEST = 140000
_NEWEST_TRIED = 19
# A list as Postgres reads it: an item in double quotes is one item, whatever commas it has.
_ITEMS = re.compile(r'"([^"]*)"|([^,\s]+)')
_LONG_SECONDS = 30.0
_SHOWN = 5
# A slot is taken over this late after its holder died in silence.
_SENDER_TIMEOUT_MS = 300_000


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of a try to make a temporary slot with a plugin."""

    plugin: str
    sqlstate: str | None
    """None if the slot was made."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction with an id that has not ended; `seconds` is None where its age is hidden from this role."""

    pid: int | None
    prepared: str | None
    database: str | None
    role: str | None
    application_name: str | None
    state: str | None
    seconds: float | None

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.prepared is None else f"prepared transaction {self.prepared!r}"
        age = "of unknown age" if self.seconds is None else f"open for {self.seconds:.0f} s"
        return f"{who} ({self.role} in {self.database}, {age})"


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says of itself; `settings` are the numbers and words of pg_settings, in its units."""

    version_number: int
    version: str
    encoding: str
    in_recovery: bool
    slots: int
    senders: int
    settings: Mapping[str, str]
    slot_exists: bool
    """Whether the relay's own slot is one of them."""
    slot_held: bool
    wanted: str
    """RELAY_PLUGIN, or the plugin of the slot that exists."""
    probes: Sequence[Probe]
    transactions: Sequence[Transaction]

    def number(self, name: str) -> int | None:
        """Return a numeric setting; None on a version that does not have it."""
        return int(self.settings[name]) if name in self.settings else None

    def probe(self, plugin: str) -> Probe | None:
        """Return what came of trying `plugin`."""
        return next((probe for probe in self.probes if probe.plugin == plugin), None)


def version(server: Server) -> Verdict:
    """Judge the server's version."""
    told = f"PostgreSQL {server.version}"
    if server.version_number < _OLDEST:
        return fail(f"{told} is too old", remedy="upgrade to PostgreSQL 14 or later", version=server.version)
    if server.version_number // 10_000 > _NEWEST_TRIED:
        return warn(
            f"{told} is newer than any that the relay was written for",
            remedy="try it before relying on it",
            version=server.version,
        )
    return ok(told, version=server.version)


def primary(server: Server) -> Verdict:
    """Judge whether the relay can store its position here."""
    if server.in_recovery:
        return fail(
            "this server is a standby: the relay cannot store its position here",
            remedy="name the primary in RELAY_DATABASE_URL; target_session_attrs=read-write finds it",
        )
    return ok("the server takes writes")


def encoding(server: Server) -> Verdict:
    """Judge the database's encoding."""
    if server.encoding != "UTF8":
        return fail(
            f"the database's encoding is {server.encoding}",
            remedy="move the outbox to a database in UTF8",
            encoding=server.encoding,
        )
    return ok("the database's encoding is UTF8", encoding=server.encoding)


def wal_level(server: Server) -> Verdict:
    """Judge whether the WAL holds what decoding needs; newer servers raise their level with the first logical slot."""
    level, effective = server.settings.get("wal_level"), server.settings.get("effective_wal_level")
    facts = {"wal_level": level, "effective_wal_level": effective}
    if "logical" in {level, effective}:
        return ok(f"wal_level is {level}" + (f", effectively {effective}" if effective else ""), **facts)
    if effective is not None and level == "replica":
        return ok("wal_level is replica; this server makes it logical with its first logical slot", **facts)
    return fail(
        f"wal_level is {level}, not logical",
        remedy="ALTER SYSTEM SET wal_level = logical, then restart Postgres",
        **facts,
    )


def plugin_listed(server: Server) -> Verdict:
    """Judge the list of plugins that newer minor versions allow; most servers have no such list."""
    listed = server.settings.get("output_plugin_libraries")
    plugin = _plugin(server)
    if listed is None:
        return ok("this server has no list of allowed output plugins", output_plugin_libraries=None)
    allowed = [quoted or bare for quoted, bare in _ITEMS.findall(listed)]
    if plugin in allowed:
        return ok(f"output_plugin_libraries allows {plugin}", output_plugin_libraries=listed)
    items = ", ".join(dict.fromkeys([*(each for each in allowed if "," not in each and each), plugin]))
    remedy = f"ALTER SYSTEM SET output_plugin_libraries = {items}; SELECT pg_reload_conf(). Items, not one text"
    if server.wanted == "auto" and "pgoutput" in allowed:
        return warn(
            f"output_plugin_libraries does not list {plugin}: the relay takes pgoutput",
            remedy=remedy,
            output_plugin_libraries=listed,
        )
    return fail(f"output_plugin_libraries does not list {plugin}", remedy=remedy, output_plugin_libraries=listed)


def plugin_works(server: Server) -> Verdict:
    """Judge by trying: a temporary slot was made with the plugin, which loads it, and was dropped again."""
    plugin = _plugin(server)
    probe = server.probe(plugin)
    if probe is None:
        return unknown(
            f"{plugin} was not tried: a temporary slot needs a free one, wal_level and REPLICATION",
            remedy="mend what FAILs, then check again",
            plugin=plugin,
        )
    facts = {"plugin": plugin, "sqlstate": probe.sqlstate}
    if _loaded(probe):
        return ok(f"{plugin} is installed and allowed", **facts)
    if (probe.sqlstate or "")[:2] in _NOT_ABOUT_PLUGINS:
        return unknown(f"{plugin} could not be tried: {probe.message}", remedy="see the server's log", **facts)
    other = server.probe("pgoutput")
    if server.wanted == "auto" and other is not None and _loaded(other):
        return warn(
            f"{plugin} cannot be used ({probe.message}): the relay takes pgoutput",
            remedy=_plugin_remedy(probe),
            **facts,
        )
    return fail(f"{plugin} cannot be used: {probe.message}", remedy=_plugin_remedy(probe), **facts)


def free_slots(server: Server) -> Verdict:
    """Judge whether the relay's slot, and a temporary one beside it, have a place."""
    total = server.number("max_replication_slots") or 0
    free = total - server.slots
    facts = {"max_replication_slots": total, "used": server.slots}
    remedy = "raise max_replication_slots and restart Postgres, or drop a slot that nobody needs: pg_replication_slots"
    if free <= 0 and not server.slot_exists:
        return fail(f"all {total} replication slots are taken", remedy=remedy, **facts)
    if free <= 0:
        return warn(
            f"all {total} replication slots are taken: status, tail and skip have no place for a temporary one",
            remedy=remedy,
            **facts,
        )
    return ok(f"{free} of {total} replication slots are free", **facts)


def free_senders(server: Server) -> Verdict:
    """Judge whether a relay and its standby have a place to stream."""
    total = server.number("max_wal_senders") or 0
    free = total - server.senders
    facts = {"max_wal_senders": total, "used": server.senders}
    remedy = "raise max_wal_senders and restart Postgres"
    if free <= 0 and not server.slot_held:
        return fail(f"all {total} WAL senders are taken", remedy=remedy, **facts)
    if free <= 0:
        return warn(f"all {total} WAL senders are taken: another relay could not take over", remedy=remedy, **facts)
    return ok(f"{free} of {total} WAL senders are free", **facts)


def slot_wal_limit(server: Server) -> Verdict:
    """Judge what happens to the disk when the relay stays away."""
    limit = server.number("max_slot_wal_keep_size")
    if limit is None or limit < 0:
        return warn(
            "max_slot_wal_keep_size is unlimited: a relay that stays away fills the server's disk",
            remedy="set max_slot_wal_keep_size to what the disk can spare, and alert well below it",
            max_slot_wal_keep_size=limit,
        )
    return ok(f"a slot may keep {size(limit << 20)} of WAL", max_slot_wal_keep_size=limit)


def idle_slot_timeout(server: Server) -> Verdict:
    """Judge whether Postgres takes the slot away from a relay that is away (PostgreSQL 18)."""
    seconds = server.number("idle_replication_slot_timeout")
    if seconds:
        return warn(
            f"idle_replication_slot_timeout is {seconds} s: the slot is lost when the relay is away for longer",
            remedy="set it to 0, or to longer than any outage; max_slot_wal_keep_size bounds the disk",
            idle_replication_slot_timeout=seconds,
        )
    return ok("an idle slot is kept", idle_replication_slot_timeout=seconds)


def sender_timeout(server: Server) -> Verdict:
    """Judge how soon a dead relay's slot is free for another."""
    milliseconds = server.number("wal_sender_timeout") or 0
    remedy = "ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf()"
    if milliseconds == 0:
        return warn(
            "wal_sender_timeout is off: a relay that vanishes holds the slot for as long as TCP lets it",
            remedy=remedy,
            wal_sender_timeout=0,
        )
    if milliseconds > _SENDER_TIMEOUT_MS:
        return warn(
            f"wal_sender_timeout is {milliseconds / 1000:g} s: a standby takes over no sooner than that",
            remedy=remedy,
            wal_sender_timeout=milliseconds,
        )
    return ok(f"wal_sender_timeout is {milliseconds / 1000:g} s", wal_sender_timeout=milliseconds)


def long_transactions(server: Server) -> Verdict:
    """Judge whether transactions block the making of a slot, or keep one from letting WAL go."""
    probe = server.probe(_plugin(server))
    blocked = probe is not None and probe.sqlstate == _CANCELLED
    old = [each for each in server.transactions if (each.seconds or 0) >= _LONG_SECONDS]
    shown = [*old, *(each for each in server.transactions if blocked and each not in old)]
    facts = {"pids": [each.pid or each.prepared for each in shown], "blocked": blocked}
    named = ", ".join(map(str, shown[:_SHOWN])) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
    remedy = "end it: SELECT pg_terminate_backend(<pid>), or ROLLBACK PREPARED; see pg_stat_activity"
    if blocked and not server.slot_exists:
        return fail(f"a slot cannot be made before these transactions end: {named}", remedy=remedy, **facts)
    if shown:
        return warn(
            f"a new slot waits for long transactions, and an old one keeps their WAL: {named}", remedy=remedy, **facts
        )
    if (probe is None or probe.sqlstate) and any(each.seconds is None for each in server.transactions):
        return unknown(
            "transactions are open whose age this role is not told, and no slot was tried",
            remedy="mend what FAILs, then check again; GRANT pg_read_all_stats tells the ages",
            **facts,
        )
    return ok("no long transaction is in the way", **facts)


CHECKS = (
    Check("postgres.version", version),
    Check("postgres.primary", primary),
    Check("postgres.encoding", encoding),
    Check("postgres.wal_level", wal_level),
    Check("postgres.plugin_listed", plugin_listed),
    Check("postgres.plugin_works", plugin_works),
    Check("postgres.free_slots", free_slots),
    Check("postgres.free_senders", free_senders),
    Check("postgres.slot_wal_limit", slot_wal_limit),
    Check("postgres.idle_slot_timeout", idle_slot_timeout),
    Check("postgres.sender_timeout", sender_timeout),
    Check("postgres.long_transactions", long_transactions),
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CANCELLED = "57014"
# Resources, and a state that does not allow it: the classes of "no free slot" and "wal_level is not logical".
_NOT_ABOUT_PLUGINS = ("53", "55")


def _plugin(server: Server) -> str:
    return "wal2json" if server.wanted == "auto" else server.wanted


def _loaded(probe: Probe) -> bool:
    """Tell whether the plugin was loaded: Postgres loads it before it waits for transactions."""
    return probe.sqlstate in {None, _CANCELLED}


def _plugin_remedy(probe: Probe) -> str:
    match probe.sqlstate:
        case "58P01":
            return f"install {probe.plugin} for this server's version (Debian: postgresql-<version>-wal2json)"
        case "42501":
            return "give the role REPLICATION, and list the plugin in output_plugin_libraries where the server has it"
        case _:
            return "see the server's log"
