"""The facts about the Postgres server, and the checks of its version, role, encoding and wal_level. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from outboxkit.checks.finding import Check, Verdict, fail, ok, warn
from outboxkit.errors import Problem
from relay.storage.sessions.refusals import check_failover
from relay.storage.slots.obstacles import Obstacle

# outbox.publish has a body that Postgres parses when it is created: https://www.postgresql.org/docs/14/release-14.html
_OLDEST = 140000
_NEWEST_TRIED = 19
# query_canceled: https://www.postgresql.org/docs/current/errcodes-appendix.html
_CANCELED = "57014"


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of creating a temporary slot with a plugin."""

    plugin: str
    sqlstate: str | None
    """None if the slot was created."""
    message: str = ""

    @property
    def blocked(self) -> bool:
        """Whether it waited for open transactions until its timeout."""
        return self.sqlstate == _CANCELED

    @property
    def loaded(self) -> bool:
        """Whether the plugin was loaded: Postgres loads it before it waits for transactions."""
        return self.sqlstate is None or self.blocked


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
    transactions: Sequence[Obstacle]
    failover: bool = False
    """RELAY_SLOT_FAILOVER."""

    @property
    def plugin(self) -> str:
        """The plugin that the relay uses if the server has it."""
        return "wal2json" if self.wanted == "auto" else self.wanted

    @property
    def logical(self) -> bool:
        """Whether the WAL has what decoding needs now."""
        return "logical" in {self.settings.get("wal_level"), self.settings.get("effective_wal_level")}

    @property
    def logical_with_a_slot(self) -> bool:
        """Whether the first logical slot raises the level of the WAL, from PostgreSQL 19 on."""
        return "effective_wal_level" in self.settings and self.settings.get("wal_level") == "replica"

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
    if server.logical:
        return ok(f"wal_level is {level}" + (f", effectively {effective}" if effective else ""), **facts)
    if server.logical_with_a_slot:
        return ok("wal_level is replica; the first logical slot makes it effectively logical", **facts)
    return fail(
        f"wal_level is {level}, not logical",
        remedy="ALTER SYSTEM SET wal_level = logical, then restart Postgres",
        **facts,
    )


def failover(server: Server) -> Verdict:
    """Judge whether standbys of this server can keep a copy of a slot, if that is asked for."""
    try:
        check_failover(server.version_number, wanted=server.failover)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, wanted=True)
    return ok("standbys can keep copies of slots" if server.failover else "not asked for", wanted=server.failover)


CHECKS = (
    Check("postgres.version", version),
    Check("postgres.primary", primary),
    Check("postgres.encoding", encoding),
)
WAL_CHECKS = (Check("postgres.wal_level", wal_level), Check("postgres.slot_failover", failover))
