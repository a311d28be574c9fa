"""The timeline of a standby that was promoted: known at once, though its last checkpoint is of the one before."""

from typing import Any, LiteralString

import psycopg

from outboxkit.sql.apply import apply
from sandbox.lifetime.pair import pair
from sandbox.servers.backend import Extra
from sandbox.servers.postgres import Postgres

ROW: LiteralString = """
    INSERT INTO relay.checkpoint (name, slot, lsn, system_identifier, timeline)
    SELECT 'relay', 's', '0/1', system_identifier::text, relay.timeline() FROM pg_control_system()
"""
FOUND: LiteralString = "SELECT relay.timeline(), pg_walfile_name(pg_current_wal_insert_lsn())"


def found(server: Postgres, query: LiteralString, *, after: LiteralString = "") -> Any:  # noqa: ANN401 - columns of any type
    """Return the row that `query` gives, on a connection that ran `after` before."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        if after:
            connection.execute(after)
        return connection.execute(query).fetchone()


def test_positions_of_a_promoted_standby_are_of_its_own_timeline_before_its_first_checkpoint_and_after_it() -> None:
    with pair(Extra("checkpoint_timeout = '1h'\ncheckpoint_completion_target = 1\n")) as servers:
        with psycopg.connect(servers.primary.url, autocommit=True) as connection:
            apply(connection)
            connection.execute(ROW)
        timeline, file = found(servers.primary, FOUND)
        assert (timeline, int(file[:8], 16)) == (1, 1)
        servers.catch_up()
        assert found(servers.standby, "SELECT relay.timeline()") == (1,)
        servers.primary.kill()
        servers.promote()
        timeline, file = found(servers.primary, FOUND)
        assert (timeline, int(file[:8], 16)) == (2, 2)
        note = "SELECT relay.note_position('relay', '0')"
        assert found(servers.primary, "SELECT timeline FROM relay.checkpoint_history", after=note) == (2,)
        assert found(servers.primary, "SELECT relay.timeline()", after="CHECKPOINT") == (2,)
