"""Checks of the Postgres server: version, settings, plugin, free slots and WAL senders, long transactions. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.operating.check.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.display import size

# outbox.publish has a body that Postgres parses when it is created: https://www.postgresql.org/docs/14/release-14.html
_OLDEST = 140000
_NEWEST_TRIED = 19
# A list as Postgres parses it: text in double quotes is one item, even with commas in it.
_ITEMS = re.compile(r'"([^"]*)"|([^,\s]+)')
_LONG_SECONDS = 30.0
_SHOWN = 5
# So long at most may a standby wait for a relay that vanished.
_SENDER_TIMEOUT_MS = 300_000


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of creating a temporary slot with a plugin."""

    plugin: str
    sqlstate: str | None
    """None if the slot was created."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction that has an id; `seconds` is None if its age is hidden from this role."""

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
    """Facts about the server; `settings` are the values of pg_settings, in its units."""

    version_number: int
    version: str
    encoding: str
    in_recovery: bool
    slots: int
    senders: int
    settings: Mapping[str, str]
    slot_exists: bool
    """Whether the relay's own slot exists."""
    slot_held: bool
    wanted: str
    """The plugin of the existing slot, else RELAY_PLUGIN."""
    probes: Sequence[Probe]
    transactions: Sequence[Transaction]

    def number(self, name: str) -> int | None:
        """Return a numeric setting; None if this version does not have it."""
        return int(self.settings[name]) if name in self.settings else None

    def probe(self, plugin: str) -> Probe | None:
        """Return the probe of `plugin`, if there is one."""
        return next((probe for probe in self.probes if probe.plugin == plugin), None)


def version(server: Server) -> Verdict:
    """Judge the server's version."""
    name = f"PostgreSQL {server.version}"
    if server.version_number < _OLDEST:
        return fail(f"{name} is too old", remedy="upgrade to PostgreSQL 14 or later", version=server.version)
    if server.version_number // 10_000 > _NEWEST_TRIED:
        return warn(
            f"{name} is newer than any version that the relay is tested with",
            remedy="test the relay with it, or use PostgreSQL 14 to 19",
            version=server.version,
        )
    return ok(name, version=server.version)


def primary(server: Server) -> Verdict:
    """Judge whether the server accepts writes: the relay stores its position there."""
    if server.in_recovery:
        return fail(
            "this server is a standby: the relay cannot store its position there",
            remedy="set RELAY_DATABASE_URL to the primary, or to all hosts with target_session_attrs=read-write",
        )
    return ok("the server accepts writes")


def encoding(server: Server) -> Verdict:
    """Judge the database's encoding."""
    if server.encoding != "UTF8":
        return fail(
            f"the database's encoding is {server.encoding}",
            remedy="create the outbox in a database with encoding UTF8",
            encoding=server.encoding,
        )
    return ok("the database's encoding is UTF8", encoding=server.encoding)


def wal_level(server: Server) -> Verdict:
    """Judge whether the WAL has what decoding needs. PostgreSQL 19 raises its level with the first logical slot."""
    level, effective = server.settings.get("wal_level"), server.settings.get("effective_wal_level")
    facts = {"wal_level": level, "effective_wal_level": effective}
    if "logical" in {level, effective}:
        return ok(f"wal_level is {level}" + (f", effectively {effective}" if effective else ""), **facts)
    if effective is not None and level == "replica":
        return ok("wal_level is replica; the first logical slot makes it effectively logical", **facts)
    return fail(
        f"wal_level is {level}, not logical",
        remedy="ALTER SYSTEM SET wal_level = logical, then restart Postgres",
        **facts,
    )


def plugin_listed(server: Server) -> Verdict:
    """Judge the list of allowed plugins, which only newer minor versions have."""
    listed = server.settings.get("output_plugin_libraries")
    plugin = _plugin(server)
    if listed is None:
        return ok("this server has no list of allowed output plugins", output_plugin_libraries=None)
    allowed = [quoted or bare for quoted, bare in _ITEMS.findall(listed)]
    if plugin in allowed:
        return ok(f"output_plugin_libraries allows {plugin}", output_plugin_libraries=listed)
    items = ", ".join(map(_item, dict.fromkeys([*(each for each in allowed if "," not in each and each), plugin])))
    remedy = f"ALTER SYSTEM SET output_plugin_libraries = {items}; SELECT pg_reload_conf(); not as one quoted string"
    if server.wanted == "auto" and "pgoutput" in allowed:
        return warn(
            f"output_plugin_libraries does not list {plugin}: the relay uses pgoutput",
            remedy=remedy,
            output_plugin_libraries=listed,
        )
    return fail(f"output_plugin_libraries does not list {plugin}", remedy=remedy, output_plugin_libraries=listed)


def plugin_works(server: Server) -> Verdict:
    """Judge whether Postgres can load the plugin, by the probe: a temporary slot, created and dropped."""
    plugin = _plugin(server)
    probe = server.probe(plugin)
    if probe is None:
        return unknown(
            f"{plugin} was not tried: that needs wal_level=logical and a role with REPLICATION",
            remedy=_why_not_tried(server),
            plugin=plugin,
        )
    facts = {"plugin": plugin, "sqlstate": probe.sqlstate}
    if _loaded(probe):
        return ok(f"{plugin} is installed and allowed", **facts)
    if (probe.sqlstate or "")[:2] in _NOT_ABOUT_PLUGINS:
        return unknown(f"{plugin} could not be tried: {probe.message}", remedy=_plugin_remedy(probe), **facts)
    other = server.probe("pgoutput")
    if server.wanted == "auto" and other is not None and _loaded(other):
        return warn(
            f"{plugin} cannot be used ({probe.message}): the relay uses pgoutput",
            remedy=_plugin_remedy(probe),
            **facts,
        )
    return fail(f"{plugin} cannot be used: {probe.message}", remedy=_plugin_remedy(probe), **facts)


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


def long_transactions(server: Server) -> Verdict:
    """Judge whether open transactions block the creation of a slot, or make a slot retain WAL."""
    probe = server.probe(_plugin(server))
    blocked = probe is not None and probe.sqlstate == _CANCELLED
    old = [each for each in server.transactions if (each.seconds or 0) >= _LONG_SECONDS]
    shown = [*old, *(each for each in server.transactions if blocked and each not in old)]
    facts = {"pids": [each.pid or each.prepared for each in shown], "blocked": blocked}
    named = ", ".join(map(str, shown[:_SHOWN])) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
    remedy = "end them: SELECT pg_terminate_backend(<pid>), or ROLLBACK PREPARED '<name>' in their database"
    if blocked and not server.slot_exists:
        return fail(f"a slot cannot be created until these transactions end: {named}", remedy=remedy, **facts)
    if shown:
        return warn(
            f"a new slot waits for long transactions, and an existing slot retains WAL: {named}",
            remedy=remedy,
            **facts,
        )
    if (probe is None or probe.sqlstate) and any(each.seconds is None for each in server.transactions):
        return unknown(
            "the age of open transactions is hidden from this role, and no slot was tried",
            remedy="see postgres.plugin_works; or look at xact_start in pg_stat_activity as a superuser",
            **facts,
        )
    return ok("no transaction is open for long", **facts)


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
# The classes of "no free slot" and "wal_level is not logical".
_NOT_ABOUT_PLUGINS = ("53", "55")


def _plugin(server: Server) -> str:
    return "wal2json" if server.wanted == "auto" else server.wanted


def _loaded(probe: Probe) -> bool:
    """Return whether the plugin was loaded: Postgres loads it before it waits for transactions."""
    return probe.sqlstate in {None, _CANCELLED}


def _plugin_remedy(probe: Probe) -> str:
    match probe.sqlstate:
        case "58P01":
            return f"install {probe.plugin} for this server's version (Debian: postgresql-<version>-wal2json)"
        case "42501":
            return "see role.replication and postgres.plugin_listed"
        case "53400":
            return "see postgres.free_slots"
        case "55000":
            return "see postgres.wal_level"
        case _:
            return "see the server's log"


def _why_not_tried(server: Server) -> str:
    level, effective = server.settings.get("wal_level"), server.settings.get("effective_wal_level")
    if "logical" in {level, effective}:
        return "see role.replication"
    if effective is not None and level == "replica":
        return "run `relay setup`, which creates the first logical slot, then check again"
    return "see postgres.wal_level"


def _item(plugin: str) -> str:
    return plugin if plugin.isidentifier() and plugin.islower() else f"'{plugin}'"
