"""The sandbox's pair of Postgres: the servers change places, in order and by a kill, and both ways."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, LiteralString

import psycopg
import pytest

from sandbox.lifetime.pair import Pair, pair
from sandbox.machine.waiting import until
from sandbox.servers.backend import Extra
from sandbox.servers.postgres import Postgres

ROWS = "SELECT array_agg(number ORDER BY number) FROM kept"
WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
def servers() -> Iterator[Pair]:
    """Start a pair with a table that has the number 1."""
    with pair(Extra("wal_keep_size = '64MB'\n")) as servers:
        run(servers.primary, "CREATE TABLE kept (number integer)")
        insert(servers.primary, 1)
        servers.catch_up()
        yield servers


def run(server: Postgres, statement: LiteralString, *parameters: object) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement, parameters)


def insert(server: Postgres, number: int) -> None:
    run(server, "INSERT INTO kept VALUES (%s)", number)


def ask(server: Postgres, question: LiteralString) -> Any:  # noqa: ANN401 - one column of any type
    with psycopg.connect(server.url, autocommit=True) as connection:
        row = connection.execute(question).fetchone()
    return row and row[0]


def test_a_standby_has_what_the_primary_has_and_takes_no_writes_until_it_is_promoted(servers: Pair) -> None:
    assert ask(servers.standby, ROWS) == [1]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        insert(servers.standby, 2)
    old = servers.primary
    old.kill()
    servers.promote()
    assert servers.standby is old
    insert(servers.primary, 2)
    assert ask(servers.primary, ROWS) == [1, 2]


def test_after_a_stop_in_order_the_old_primary_follows_with_its_slots_and_takes_over_again(servers: Pair) -> None:
    run(servers.primary, "SELECT pg_create_logical_replication_slot('kept', 'test_decoding')")
    servers.primary.stop()
    servers.promote()
    insert(servers.primary, 2)
    servers.follow()
    servers.catch_up()
    servers.primary.stop()
    servers.promote()
    assert ask(servers.primary, ROWS) == [1, 2]
    assert ask(servers.primary, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'kept'") == 1


def test_after_a_kill_the_old_primary_is_copied_again_and_what_it_alone_had_is_gone(servers: Pair) -> None:
    servers.standby.stop()
    insert(servers.primary, 2)
    servers.primary.kill()
    servers.promote()
    servers.standby.start()  # a primary too, that nobody asks
    assert (ask(servers.standby, ROWS), ask(servers.primary, ROWS)) == ([1, 2], [1])
    servers.copy_again()
    insert(servers.primary, 3)
    servers.catch_up()
    assert ask(servers.standby, ROWS) == [1, 3]


def test_a_commit_waits_for_the_standby_if_that_is_asked_for_and_on_the_new_primary_for_nobody(servers: Pair) -> None:
    servers.make_synchronous()
    until(
        lambda: ask(servers.primary, "SELECT sync_state = 'sync' FROM pg_stat_replication"),
        what="the standby is synchronous", seconds=30,
    )  # fmt: skip
    insert(servers.primary, 2)
    servers.standby.stop()
    with closing(psycopg.connect(servers.primary.url, autocommit=True)) as connection:
        connection.pgconn.send_query(b"INSERT INTO kept VALUES (3)")
        until(lambda: ask(servers.primary, WAITING), what="the commit waits", seconds=30)
    servers.primary.kill()
    servers.promote()
    insert(servers.primary, 4)
    assert ask(servers.primary, ROWS) == [1, 2, 4]
