"""A replay after a failover: the new primary lacks what it had not got, and gives those transaction ids out again."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from outboxkit.sql.apply import apply
from sandbox import Isolated
from sandbox.lifetime import private
from sandbox.machine.waiting import until
from sandbox.servers.backend import Extra
from sandbox.servers.postgres import Postgres
from tests.integration.relay.operating.replay.replay_stage import History
from tests.integration.relay.stage import call, environment, one


@pytest.fixture
def primary() -> Iterator[Postgres]:
    """Start a server that a standby can follow."""
    with private.postgres(Extra("autovacuum = off\n")) as server:  # it draws ids, too
        with psycopg.connect(server.url, autocommit=True) as connection:
            apply(connection)
        yield server


def test_ranges_and_jobs_of_before_hold_on_the_new_primary_for_all_that_it_has(
    isolated: Isolated, primary: Postgres
) -> None:
    variables = environment(replace(isolated, database_url=primary.url), RELAY_SOURCE="polling")
    assert call(variables, "setup").code == 0
    old = History(replace(isolated, database_url=primary.url))
    first = old.note()
    wanted = old.publish("a", "b")
    second = old.note()
    old.tap.unbind()
    assert old.replay("--from-lsn", first, RELAY_ON_RETURN="halt", RELAY_SOURCE="polling").code == 1
    old.tap.bind()
    with private.standby(primary) as standby:
        end = one(primary.url, "SELECT pg_current_wal_flush_lsn()::text")
        until(
            lambda: one(standby.url, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", end),
            what="the standby has replayed", seconds=60,
        )  # fmt: skip
        standby.stop()
        old.publish("lost")
        old.note()
        lost = one(primary.url, "SELECT max(tx)::text FROM outbox.event")
        primary.kill()
        standby.start()
        assert one(standby.url, "SELECT pg_promote()")
        new = History(replace(isolated, database_url=standby.url))
        behind = new.publish("new")
        while one(standby.url, "SELECT max(tx)::text::bigint FROM outbox.event") < int(lost):
            behind += new.publish("new")
        assert one(standby.url, "SELECT count(*) FROM outbox.event WHERE tx = %s::text::xid8", lost) == 1
        resumed = call(environment(new.isolated, RELAY_SOURCE="polling"), "replay", "resume", "1")
        assert resumed.code == 0, resumed.output
        assert new.ids() == wanted
        assert new.replay("--from-lsn", first, RELAY_SOURCE="polling").code == 0
        assert new.ids() == wanted + behind
        assert new.replay("--from-lsn", second, RELAY_SOURCE="polling").code == 0
        assert new.ids() == behind
