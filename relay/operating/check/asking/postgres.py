"""Gathers facts from Postgres. It only reads, and creates temporary slots, which end with its session.

Each section is gathered separately, so that an error in one leaves the others known.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row, dict_row

from outboxkit import sql
from outboxkit.checks.finding import Unknown
from outboxkit.errors import Problem
from outboxkit.postgres import conninfo
from outboxkit.sql import apply as schema
from relay.core.position import Lsn
from relay.operating import outbox
from relay.operating.check.judging.postgres.connection import PostgresConnection
from relay.operating.check.judging.postgres.role import Privilege, Role, grant_replication
from relay.operating.check.judging.postgres.server import Probe, Server
from relay.operating.check.judging.relay.members import Members
from relay.operating.check.judging.relay.outbox import Outbox, Schema
from relay.operating.check.judging.relay.polling import Polling
from relay.operating.check.judging.relay.position import Position
from relay.operating.check.judging.relay.slot import RelaySlot
from relay.operating.check.judging.relay.window import ReplayWindow
from relay.operating.connection import connected
from relay.operating.members import members
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.polling.skip_locked.statements import key_of
from relay.sources.wal.decoders import pgoutput, wal2json
from relay.storage.facts import Facts, System
from relay.storage.sessions.refusals import NOT_THROUGH_A_POOLER, from_postgres
from relay.storage.slots.obstacles import Obstacle
from relay.storage.slots.replay_slot import name_of

T = TypeVar("T")

_TIMEOUT = "10s"
# Postgres loads the plugin first; then a new slot waits for the open transactions.
_PROBE_TIMEOUT = "3s"


@dataclass(frozen=True, slots=True)
class Sections:
    """All facts about Postgres; each section may be unknown."""

    connection: PostgresConnection | Unknown
    server: Server | Unknown
    role: Role | Unknown
    replication: System | Unknown | None
    """None if it was not asked for: polling needs none."""
    slot: RelaySlot | Unknown
    window: ReplayWindow | Unknown
    schema: Schema | Unknown
    outbox: Outbox | Unknown
    polling: Polling | Unknown
    position: Position | Unknown
    members: Members | Unknown


def ask(settings: RelaySettings) -> Sections:
    """Ask Postgres for every section. An error of the server makes sections unknown and is not raised."""
    replication = None if settings.source == "polling" else _gathered(settings, lambda: _identify(settings))
    try:
        with connected(settings, "check") as connection:
            connection.execute(sql.query("statement_timeout"), {"timeout": _TIMEOUT})
            return _Asking(connection, settings).all(replication)
    except Problem as problem:
        unknown = Unknown(problem.what, problem.remedy)
        return Sections(unknown, unknown, unknown, replication, *[unknown] * 7)


class _Asking:
    """The questions of one session."""

    def __init__(self, connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
        self._connection = connection
        self._settings = settings
        self._polls = settings.source == "polling"
        self._table = None if settings.message_prefix else settings.outbox_table

    def all(self, replication: System | Unknown | None) -> Sections:
        """Gather every section; later ones need facts of earlier ones."""
        connection = self._gathered(self._postgres_connection)
        role = self._gathered(lambda: self._role(streams=isinstance(replication, System)))
        if isinstance(replication, Unknown):  # libpq reports only that the connection failed
            if isinstance(connection, PostgresConnection) and connection.pooled:
                replication = Unknown(replication.reason, NOT_THROUGH_A_POOLER)
            elif isinstance(role, Role) and not role.may_stream:
                replication = Unknown(replication.reason, grant_replication(role))
        slot = self._gathered(lambda: slots.find(self._connection, self._settings.slot))
        if isinstance(slot, Unknown):
            return Sections(connection, slot, role, replication, *[slot] * 7)
        stored = self._gathered(lambda: slots.facts(self._connection, self._settings))
        server = self._gathered(lambda: self._server(slot, may_probe=isinstance(role, Role) and self._may_probe(role)))
        return Sections(
            connection=connection,
            server=server,
            role=role,
            replication=replication,
            slot=self._gathered(
                lambda: self._slot(slot, server, stored=isinstance(stored, Facts) and stored.state is not None)
            ),
            window=self._gathered(self._window),
            schema=self._gathered(self._schema),
            outbox=self._gathered(lambda: self._outbox(slot, server)),
            polling=self._gathered(lambda: self._polling(connection)),
            position=stored if isinstance(stored, Unknown) else self._gathered(lambda: self._position(stored)),
            members=self._gathered(self._members),
        )

    def _may_probe(self, role: Role) -> bool:
        return role.may_stream and not self._polls

    def _gathered(self, question: Callable[[], T]) -> T | Unknown:
        return _gathered(self._settings, question)

    def _postgres_connection(self) -> PostgresConnection:
        connection, url = self._connection, self._settings.database_url.get_secret_value()
        options = {option.keyword: option.val for option in connection.pgconn.info}
        hosts = str(conninfo_to_dict(url).get("hostaddr") or connection.info.host or "localhost").split(",")
        return PostgresConnection(
            hosts=hosts,
            sslmode=(options.get(b"sslmode") or b"prefer").decode(),
            encrypted=connection.pgconn.ssl_in_use,
            client_pid=connection.info.backend_pid,
            server_pid=self._one("check_server", {})["backend_pid"],
        )

    def _server(self, slot: slots.Slot | None, *, may_probe: bool) -> Server:
        found = self._one("check_server", {})
        found.pop("backend_pid")
        wanted = self._settings.plugin if slot is None or slot.plugin is None else slot.plugin
        rows = self._connection.cursor(row_factory=class_row(Obstacle))
        levels = {found["settings"].get("wal_level"), found["settings"].get("effective_wal_level")}
        probes = self._probes(wanted) if may_probe and "logical" in levels else []
        return Server(
            **found,
            slot_exists=slot is not None,
            slot_held=slot is not None and slot.holder_pid is not None,
            wanted=wanted,
            probes=probes,
            transactions=rows.execute(sql.query("check_transactions")).fetchall(),
            failover=self._settings.slot_failover,
        )

    def _probes(self, wanted: str) -> list[Probe]:
        self._connection.execute(sql.query("statement_timeout"), {"timeout": _PROBE_TIMEOUT})
        probes = [self._probe(wal2json.PLUGIN if wanted == "auto" else wanted)]
        if wanted == "auto" and probes[0].sqlstate in {"58P01", "42501"}:
            probes.append(self._probe(pgoutput.PLUGIN))
        self._connection.execute(sql.query("statement_timeout"), {"timeout": _TIMEOUT})
        return probes

    def _probe(self, plugin: str) -> Probe:
        name = f"check_{secrets.token_hex(6)}"
        try:
            self._connection.execute(sql.query("slot_create_temporary"), {"slot": name, "plugin": plugin})
        except psycopg.Error as error:
            return Probe(plugin, error.sqlstate or "", error.diag.message_primary or str(error))
        self._connection.execute(sql.query("slot_drop"), {"slot": name})
        return Probe(plugin, None)

    def _role(self, *, streams: bool) -> Role:
        privileges = self._connection.cursor(row_factory=class_row(Privilege))
        locks = None
        if self._settings.poll_strategy == "skip_locked":
            locks = key_of(self._settings.layout(partitioned=False))
        privileges.execute(sql.query("check_privileges"), {"table": self._table, "locks": locks})
        found = self._one("check_role", {"table": self._table})
        return Role(
            **found,
            privileges=privileges.fetchall(),
            streams=streams,
            polls=self._polls,
            relays=self._settings.owner.partition.of,
        )

    def _slot(self, slot: slots.Slot | None, server: Server | Unknown, *, stored: bool) -> RelaySlot:
        limit = None if isinstance(server, Unknown) else server.number("max_slot_wal_keep_size")
        waits_for = None if isinstance(server, Unknown) else server.settings.get("synchronized_standby_slots")
        return RelaySlot(
            name=self._settings.slot,
            plugin=self._settings.plugin,
            database=self._connection.info.dbname,
            slot=slot,
            limit_bytes=None if limit is None or limit < 0 else limit << 20,
            owner=self._settings.owner,
            polls=self._polls,
            stored=stored,
            copied=self._settings.slot_failover,
            waits_for=waits_for,
        )

    def _window(self) -> ReplayWindow:
        connection, settings = self._connection, self._settings
        stored = slots.checkpoint(connection, settings.name)
        name = name_of(settings.slot)
        return ReplayWindow(
            wanted=settings.replay_window,
            name=name,
            noted=stored is not None and stored.replay_slot == name,
            slot=slots.find(connection, name),
            database=connection.info.dbname,
        )

    def _schema(self) -> Schema:
        try:
            return Schema(tuple(schema.lacking(self._connection)))
        except schema.SchemaChanged as problem:
            return Schema((), problem)

    def _outbox(self, slot: slots.Slot | None, server: Server | Unknown) -> Outbox:
        settings = self._settings
        facts = outbox.facts(self._connection, settings)
        plugin = (slot and slot.plugin) or _likely(server, outbox.preferred(facts, settings))
        return Outbox(outbox.layout(facts, settings), facts, plugin, publication_name=settings.slot, polls=self._polls)

    def _polling(self, connection: PostgresConnection | Unknown) -> Polling:
        settings = self._settings
        facts = outbox.facts(self._connection, settings)
        schema, _, table = settings.outbox_table.partition(".")
        return Polling(
            source=settings.source,
            strategy=settings.poll_strategy,
            notify=settings.poll_notify,
            layout=outbox.layout(facts, settings),
            facts=facts,
            role=self._one("schema_role", {})["current_user"],
            pooled=isinstance(connection, PostgresConnection) and connection.pooled,
            **self._one("check_polling", {"schema": schema, "table": table}),
        )

    def _position(self, facts: Facts) -> Position:
        connection, settings = self._connection, self._settings
        pollable = outbox.pollable(outbox.facts(connection, settings), settings)
        return Position(facts, settings.owner, pollable, polls=self._polls)

    def _members(self) -> Members:
        return Members(self._settings.owner, members(self._connection, self._settings.name))

    def _one(self, query: str, parameters: dict[str, Any]) -> dict[str, Any]:
        row = self._connection.cursor(row_factory=dict_row).execute(sql.query(query), parameters).fetchone()
        assert row is not None  # noqa: S101 - these queries always return one row
        return row


def _gathered(settings: RelaySettings, question: Callable[[], T]) -> T | Unknown:
    """Return the answer to `question`, or why it is unknown."""
    try:
        return question()
    except psycopg.Error as error:
        problem = from_postgres(error, slot=settings.slot)
        return Unknown(problem.what, problem.remedy)
    except Problem as problem:
        return Unknown(problem.what, problem.remedy)


def _identify(settings: RelaySettings) -> System:
    with psycopg.connect(
        conninfo(settings.database_url.get_secret_value()),
        autocommit=True,
        replication="database",
        application_name=f"{settings.name} check",
    ) as connection:
        row = connection.execute("IDENTIFY_SYSTEM").fetchone()
    assert row is not None  # noqa: S101 - the command always returns one row
    return System(str(row[0]), int(row[1]), Lsn.parse(row[2]))


def _likely(server: Server | Unknown, preferred: str) -> str:
    """Return the plugin that `relay setup` would use: the preferred one, or with `auto` the only one that works."""
    if isinstance(server, Unknown) or server.wanted != "auto" or not server.probes:
        return preferred
    only_pgoutput = server.probes[-1].plugin == pgoutput.PLUGIN
    return pgoutput.PLUGIN if only_pgoutput else preferred
