"""`relay setup` in a copy of a database whose outbox has relays: the original stays as it is, and the remedies work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from sandbox import Isolated
from tests.integration.relay.operating.partitions.stage import ROWS, SLOTS, checked, relay
from tests.integration.relay.stage import Said, call, environment, one


@contextmanager
def copied(isolated: Isolated) -> Iterator[Isolated]:
    """Yield a copy of the database on the same server; it and its slots are dropped afterwards."""
    copy = replace(isolated, database_url=f"{isolated.database_url}_copy", name=f"{isolated.name}_copy")
    with psycopg.connect(isolated.database_url, dbname="postgres", autocommit=True) as connection:
        names = SQL("{} TEMPLATE {}").format(Identifier(copy.name), Identifier(isolated.name))
        connection.execute(SQL("CREATE DATABASE {}").format(names))
        try:
            yield copy
        finally:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", [copy.name]
            )
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(copy.name)))


def statements(said: Said, copy: Isolated) -> str:
    """Return what a remedy says to run in the copy."""
    return said.output.partition(f"run in database '{copy.name}' ")[2].partition(" then run `relay setup`")[0]


@pytest.mark.parametrize("source", ["auto", "polling"])
def test_a_partition_of_a_copied_database_is_refused_and_the_remedy_works(source: str, isolated: Isolated) -> None:
    assert relay(isolated, 1, 2, "setup", RELAY_SOURCE=source).code == 0
    with copied(isolated) as copy:
        variables = {"RELAY_SOURCE": source, "RELAY_EXCHANGE": isolated.name}
        before = one(copy.database_url, ROWS)
        said = relay(copy, 2, 2, "setup", **variables)
        assert (said.code, "is a copy of it - set RELAY_NAME" in said.output) == (1, True), said.output
        for option in ("--dry-run", "--accept-gap", "--accept-upgrade"):
            assert relay(copy, 2, 2, "setup", option, **variables) == said
        assert one(copy.database_url, ROWS) == before
        with psycopg.connect(copy.database_url, autocommit=True) as connection:
            connection.execute(statements(said, copy).encode())
        assert one(copy.database_url, "SELECT count(*) FROM relay.checkpoint") == 0
        own = {"RELAY_NAME": "copy", "RELAY_SLOT": f"{copy.name}_own", **variables}
        assert relay(copy, 2, 2, "setup", **own).code == 0
        assert checked(relay(copy, 2, 2, "check", "--json", **own))["checkpoint.owner"]["status"] == "OK"
    assert relay(isolated, 2, 2, "setup", RELAY_SOURCE=source).code == 0, "the original is as it was"


@pytest.mark.parametrize("source", ["auto", "polling"])
def test_a_copied_outbox_of_which_each_partition_has_a_relay_is_left_as_the_remedies_say(
    source: str, isolated: Isolated
) -> None:
    for number in (1, 2):
        assert relay(isolated, number, 2, "setup").code == 0
    with copied(isolated) as copy:
        variables = {"RELAY_SOURCE": source, "RELAY_EXCHANGE": isolated.name}
        before = one(copy.database_url, ROWS)
        as_before = relay(copy, 1, 2, "setup", RELAY_SLOT=f"{isolated.name}_1", **variables)
        assert (as_before.code, "set RELAY_NAME and RELAY_SLOT to other names" in as_before.output) == (1, True)
        own = {"RELAY_NAME": "own1", "RELAY_SLOT": f"{copy.name}_own1", **variables}
        said = relay(copy, 1, 2, "setup", **own)
        assert (said.code, "is a copy of it - set RELAY_NAME" in said.output) == (1, True), said.output
        for option in ("--dry-run", "--accept-gap", "--accept-upgrade"):
            assert relay(copy, 1, 2, "setup", option, **own) == said
        as_whole = call(environment(copy, **own), "setup")
        assert statements(as_whole, copy) == statements(said, copy)
        assert one(copy.database_url, ROWS) == before
        with psycopg.connect(copy.database_url, autocommit=True) as connection:
            connection.execute(statements(said, copy).encode())
        assert relay(copy, 1, 2, "setup", **own).code == 0
        assert checked(relay(copy, 1, 2, "check", "--json", **own))["checkpoint.owner"]["status"] == "OK"
        second = {"RELAY_NAME": "own2", "RELAY_SLOT": f"{copy.name}_own2", **variables}
        assert relay(copy, 2, 2, "setup", **second).code == 0
    assert relay(isolated, 1, 2, "setup").code == 0, "the original is as it was"


@pytest.mark.parametrize("source", ["auto", "polling"])
@pytest.mark.parametrize("options", [(), ("--accept-gap",), ("--accept-upgrade",), ("--dry-run",)])
def test_a_position_of_a_copied_database_is_not_replaced_under_its_old_name(
    source: str, options: tuple[str, ...], isolated: Isolated
) -> None:
    for number in (1, 2):
        assert relay(isolated, number, 2, "setup").code == 0
    with copied(isolated) as copy:
        before = one(copy.database_url, ROWS)
        said = relay(copy, 1, 2, "setup", *options, RELAY_SOURCE=source, RELAY_EXCHANGE=isolated.name)
        assert (said.code, "is a copy of it - set RELAY_NAME" in said.output) == (1, True), said.output
        assert (one(copy.database_url, ROWS), one(copy.database_url, SLOTS)) == (before, 0)


@pytest.mark.parametrize("beside", [False, True])
def test_the_outbox_of_a_copied_database_can_be_divided_as_the_remedies_say(ready: Isolated, *, beside: bool) -> None:
    with copied(ready) as copy:
        variables = {"RELAY_EXCHANGE": ready.name}
        said = relay(copy, 1, 2, "setup", **variables)
        assert (said.code, "is a copy of it - set RELAY_NAME" in said.output) == (1, True), said.output
        assert relay(copy, 1, 2, "setup", "--take-over", "relay", **variables) == said
        own = {"RELAY_NAME": "all", **variables}
        if beside:
            assert call(environment(copy, **own), "setup").code == 0, "a relay of all events needs names only"
        with psycopg.connect(copy.database_url, autocommit=True) as connection:
            connection.execute(statements(said, copy).encode())
        left = one(copy.database_url, "SELECT coalesce(array_agg(name), '{}') FROM relay.checkpoint")
        assert left == (["all"] if beside else [])
        assert relay(copy, 1, 2, "setup", *(("--take-over", "all") if beside else ()), **variables).code == 0
        assert relay(copy, 2, 2, "setup", **variables).code == 0
    assert call(environment(ready), "setup").code == 0, "the original is as it was"
