"""Gathers facts from Postgres. It only reads, and an error in one question leaves the others known."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.rows import class_row, dict_row

from consumers.operating.checks import sessions
from consumers.operating.checks.module import Kinds
from consumers.operating.checks.rights import Right, Rights
from consumers.operating.checks.server import Server
from consumers.operating.checks.work import Waiting
from consumers.postgres import refusals
from consumers.postgres.connecting import PREPARE_THRESHOLD, address
from consumers.settings import ConsumerSettings
from outboxkit import sql
from outboxkit.checks.finding import Unknown
from outboxkit.errors import Problem
from outboxkit.sql import apply

T = TypeVar("T")
_NAME = "consumers check"


@dataclass(frozen=True, slots=True)
class Schema:
    """What the database lacks of this version's schema."""

    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sections:
    """All facts about Postgres; each section may be unknown."""

    server: Server | Unknown
    schema: Schema | Unknown
    rights: Rights | Unknown
    waiting: Waiting | Unknown
    jobs: float | Unknown | None
    """For how many seconds no job of the project has begun; None if none is recorded."""


def ask(settings: ConsumerSettings, kinds: Kinds) -> Sections:
    """Ask Postgres for every section; what is needed depends on the `kinds` of handlers.

    An error makes sections unknown and is not raised.
    """
    conninfo = address(settings.database_url.get_secret_value(), name=_NAME)
    try:
        connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=PREPARE_THRESHOLD)
    except psycopg.Error as error:
        problem = refusals.unavailable(error, conninfo)
        unknown = Unknown(problem.what, problem.remedy)
        return Sections(unknown, unknown, unknown, unknown, unknown)
    with connection:
        server = _gathered(lambda: _server(connection, settings, kinds))
        return Sections(
            server=server,
            schema=_gathered(lambda: Schema(tuple(apply.lacking(connection)))),
            rights=_gathered(lambda: _rights(connection, settings, kinds)),
            waiting=_gathered(lambda: _waiting(connection)),
            jobs=_gathered(lambda: _one(connection, "consumers_check_jobs")["seconds"]),
        )


def _gathered(question: Callable[[], T]) -> T | Unknown:
    try:
        return question()
    except psycopg.Error as error:
        problem = refusals.refused(error)
        return Unknown(problem.what, problem.remedy)
    except Problem as problem:
        return Unknown(problem.what, problem.remedy)


def _server(connection: psycopg.Connection[Any], settings: ConsumerSettings, kinds: Kinds) -> Server:
    before = time.time()
    row = _one(connection, "consumers_check_server")
    after = time.time()
    return Server(
        **row,
        login_pid=connection.info.backend_pid,
        ahead=row["clock"] - (before + after) / 2,
        unsure=(after - before) / 2,
        most=sessions.most(settings, kinds),
        lease=settings.lease,
    )


def _rights(connection: psycopg.Connection[Any], settings: ConsumerSettings, kinds: Kinds) -> Rights:
    needed = {"events": kinds.events, "prunes": settings.inbox_retention is not None}
    with connection.transaction():  # behind a pooler, both statements in one session
        role = _one(connection, "schema_role")["current_user"]
        cursor = connection.cursor(row_factory=class_row(Right))
        rows = cursor.execute(sql.query("consumers_check_privileges"), needed).fetchall()
    return Rights(role, rows)


def _waiting(connection: psycopg.Connection[Any]) -> Waiting:
    with connection.transaction():
        connection.execute(sql.query("statement_timeout_local"))
        return Waiting(dict(connection.execute(sql.query("consumers_check_types")).fetchall()))


def _one(connection: psycopg.Connection[Any], query: str) -> dict[str, Any]:
    row = connection.cursor(row_factory=dict_row).execute(sql.query(query)).fetchone()
    assert row is not None  # noqa: S101 - these queries always return one row
    return row
