"""RELAY_SOURCE=polling after a dump and restore: `relay setup --accept-gap` goes on from now, and from nothing else."""

from typing import LiteralString

import psycopg
import pytest

from outboxkit.errors import Problem
from relay.operating.setup import planning
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.operating.polling.poller import Poller
from tests.integration.relay.operating.setup import shop
from tests.integration.relay.stage import call, environment, one, publish, settings
from tests.support.stage import Stage

ROW: LiteralString = "SELECT row_to_json(c)::text FROM relay.checkpoint AS c"
FOREIGN: LiteralString = """
UPDATE relay.checkpoint
SET system_identifier = '7', slot = {slot}, mode = 'wal', lsn = 'FF/0', plugin = 'wal2json', epoch = 41,
    snapshot = '9999999:9999999:', streamed = '{{[1,1000000)}}', making_slot = true,
    filter_snapshot = '1000000:1000000:', filter_end = 'FF/0', round_snapshot = '5:5:', round_seq = 1,
    recorded_since = '5:5:', recorded_besides = '{{[1,1000000)}}'
"""
BEGUN: LiteralString = """
SELECT (slot, mode, lsn, plugin, streamed, making_slot, filter_snapshot, filter_end, round_snapshot, round_seq,
        recorded_epoch = epoch, recorded_since::text = snapshot::text, recorded_besides, epoch)::text
FROM relay.checkpoint
"""
AS_NEW = "(,polling,,,{},f,,,,,t,t,{},42)"
SYSTEM = "(SELECT system_identifier::text FROM pg_control_system())"
HERE = f"SELECT system_identifier = {SYSTEM} FROM relay.checkpoint"  # noqa: S608 - a constant
UNSEEN = (
    "SELECT count(*) FROM outbox.event, relay.checkpoint"
    " WHERE NOT pg_visible_in_snapshot(tx, snapshot) OR tx >= pg_snapshot_xmax(pg_current_snapshot())"
)
YET_TO_COME = "UPDATE outbox.event SET tx = '99999999'"
NO_GAP = (
    "there is no gap to accept: the table has what no slot has, and the relay polls it - run `relay setup` without "
    "--accept-gap, then `relay run`"
)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def foreign(slot: str) -> str:
    return FOREIGN.format(slot=f"'{slot}'")


def test_the_remedy_is_followed_literally_and_what_commits_from_then_on_is_published(
    poller: Poller, polling: Stage
) -> None:
    """The role may neither stream nor create anything."""
    tap = polling.set_up()
    publish(poller.owner.database_url, "a", "b", "c")
    execute(poller.owner.database_url, YET_TO_COME, foreign(poller.isolated.name))
    for command in ("setup", "audit"):
        said = poller.call(command)
        assert (said.code, "the position was stored on system 7, and this is" in said.output) == (1, True), said.output
        assert said.output.endswith("then run `relay setup --accept-gap` to go on from a position of this server")
    said = poller.call("setup", "--accept-gap")
    assert (said.code, "run it as the owner of the schemas" in said.output) == (1, True), "rows get a number"
    said = poller.call("setup", "--accept-gap", RELAY_DATABASE_URL=poller.owner.database_url)
    assert said.code == 0, said.output
    assert "polling: outbox.event, from now: the stored position was replaced" in said.output.splitlines()
    assert one(poller.owner.database_url, BEGUN) == AS_NEW
    assert one(poller.owner.database_url, HERE) is True
    assert one(poller.owner.database_url, UNSEEN) == 0
    assert poller.call("setup").code == 0
    events = publish(poller.owner.database_url, "d")
    relay = polling.start("relay", "run")
    relay.logged("streaming", seconds=90)
    events += publish(poller.owner.database_url, "e")
    published: list[str] = []

    def all_there() -> bool:
        published.extend(delivery.message for delivery in tap.drain())
        return set(published) >= set(events)

    until(all_there, what="what was committed since is published", seconds=30)
    assert relay.terminate() == 0, relay.tail()
    assert published == events


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_where_there_is_no_gap_none_is_accepted(isolated: Isolated, dry: tuple[str, ...]) -> None:
    variables = environment(isolated, RELAY_SOURCE="polling")
    assert call(variables, "setup", "--accept-gap").code == 0, "a first setup begins, as with every source"
    before = one(isolated.database_url, ROW)
    said = call(variables, "setup", "--accept-gap", *dry)
    assert (said.code, said.output) == (1, NO_GAP)
    assert one(isolated.database_url, ROW) == before
    same = call(environment(isolated, RELAY_SOURCE="auto"), "setup", "--accept-gap", *dry)
    assert (same.code, same.output) == (said.code, said.output)
    assert call(variables, "setup").code == 0


def test_a_position_of_the_wal_alone_is_none_to_poll_from_and_no_gap(isolated: Isolated) -> None:
    assert call(environment(isolated, RELAY_SOURCE="wal"), "setup").code == 0
    said = call(environment(isolated, RELAY_SOURCE="polling"), "setup", "--accept-gap")
    assert (said.code, "no snapshot is stored" in said.output) == (1, True), said.output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("outboxes = '{sales.outbox}'", "belongs to sales.outbox, and this relay is set to outbox.event"),
        ("slot = 'another'", "has replication slot 'another', and RELAY_SLOT is"),
        (f"database_oid = 1, database = 'old', system_identifier = {SYSTEM}", "was stored in database 'old', and"),
    ],
)
def test_what_is_of_somebody_else_is_refused_all_the_same(isolated: Isolated, change: str, words: str) -> None:
    variables = environment(isolated, RELAY_SOURCE="polling")
    assert call(variables, "setup").code == 0
    execute(isolated.database_url, foreign(isolated.name), f"UPDATE relay.checkpoint SET {change}")  # noqa: S608 - constants
    before = one(isolated.database_url, ROW)
    for dry in ((), ("--dry-run",)):
        said = call(variables, "setup", "--accept-gap", *dry)
        assert (said.code, words in said.output) == (1, True), said.output
    assert one(isolated.database_url, ROW) == before


def test_a_dry_run_prints_the_sql_of_an_accepted_gap(isolated: Isolated) -> None:
    variables = environment(isolated, RELAY_SOURCE="polling")
    assert call(variables, "setup").code == 0
    publish(isolated.database_url, "a", "b")
    execute(isolated.database_url, YET_TO_COME, foreign(isolated.name))
    before = one(isolated.database_url, ROW)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        with pytest.raises(Problem, match="stored on system 7"):
            list(planning.plan(settings(isolated, source="polling"), accept_gap=False))
        scripts = list(planning.plan(settings(isolated, source="polling"), accept_gap=True))
        assert one(isolated.database_url, ROW) == before
        for script in scripts:
            connection.execute(script.encode())
    assert one(isolated.database_url, BEGUN) == AS_NEW
    assert one(isolated.database_url, HERE) is True
    assert one(isolated.database_url, UNSEEN) == 0


@pytest.mark.parametrize("dry", [False, True])
def test_the_rows_of_a_table_without_tx_are_marked_as_published(isolated: Isolated, *, dry: bool) -> None:
    shop.create(isolated, 3)
    execute(isolated.database_url, "CREATE UNIQUE INDEX ON shop.outbox (id)")
    variables = shop.variables(isolated, RELAY_SOURCE="polling", RELAY_POLL_STRATEGY="skip_locked")
    assert call(variables, "setup").code == 0
    shop.insert(isolated, 2)
    execute(isolated.database_url, foreign(isolated.name))
    said = call(variables, "setup", "--accept-gap", *(["--dry-run"] if dry else []))
    assert said.code == 0, said.output
    if dry:
        execute(isolated.database_url, said.output)
    assert one(isolated.database_url, BEGUN) == AS_NEW
    assert one(isolated.database_url, "SELECT count(*) FROM relay.mark JOIN shop.outbox ON key = id::text") == 5


def test_two_who_accept_a_gap_at_the_same_time_do_not_leave_out_what_commits_in_between(isolated: Isolated) -> None:
    """Whoever is second waits for the row, and finds a position of this server."""
    assert call(environment(isolated, RELAY_SOURCE="polling"), "setup").code == 0
    execute(isolated.database_url, foreign(isolated.name))
    scripts = list(planning.plan(settings(isolated, source="polling"), accept_gap=True))
    for _ in range(2):
        for script in scripts:
            execute(isolated.database_url, script)
    assert one(isolated.database_url, BEGUN) == AS_NEW
