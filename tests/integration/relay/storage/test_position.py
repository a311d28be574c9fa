"""The stored position on a real Postgres: only who claimed the row writes it, and never on another ground."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import dict_row

from outboxkit import sql
from outboxkit.sql.apply import apply
from relay.core.errors import OutboxChanged, PositionLost, SourceUnavailable
from relay.core.evidence import Evidence
from relay.core.position import Lsn, Round, Snapshot
from relay.core.transactions import Transactions
from relay.operating.setup.steps import setup
from relay.sources.wal.ownership import OtherOutbox
from relay.storage.facts import Facts, Owner
from relay.storage.position import StoredPosition
from relay.storage.server import Server
from relay.storage.sessions.session import Session
from relay.storage.state import Filter, State
from sandbox import Isolated
from tests.integration.relay.stage import settings
from tests.integration.relay.storage.saving import Saving

EARLY, LATE = Snapshot(700, 710, (701, 705)), Snapshot(720, 720)


@asynccontextmanager
async def session(streaming: Isolated) -> AsyncIterator[Session]:
    async with Session(lambda: streaming.database_url, name="relay", slot=streaming.name) as opened:
        yield opened


def unrecorded(opened: Session, streaming: Isolated) -> StoredPosition:
    return StoredPosition(opened, owner(streaming), Evidence(recording=False))


def owner(streaming: Isolated) -> Owner:
    return Owner("relay", streaming.name, ["outbox.event"])


async def facts(streaming: Isolated, opened: Session) -> Facts:
    return await Server(opened, name="relay", slot=streaming.name, table="outbox.event").facts()


async def claimed(streaming: Isolated, opened: Session, **found: Any) -> StoredPosition:  # noqa: ANN401 - any field
    """Return a position that is claimed by a process to which the server says `found`."""
    position = unrecorded(opened, streaming)
    await position.claim(replace(await facts(streaming, opened), **found), plugin="wal2json")
    return position


def row(streaming: Isolated) -> dict[str, Any]:
    with psycopg.connect(streaming.database_url, row_factory=dict_row) as connection:
        found = connection.execute("SELECT *, lsn::text, snapshot::text FROM relay.checkpoint").fetchone()
    assert found is not None
    return found


def at(lsn: Lsn, snapshot: Snapshot | None = None) -> State:
    """Return the state of a stream that is confirmed up to `lsn`."""
    return State("wal", lsn, snapshot, Transactions())


def start(streaming: Isolated) -> Lsn:
    return Lsn.parse(row(streaming)["lsn"])


def written(streaming: Isolated, statement: LiteralString, *parameters: object) -> None:
    with psycopg.connect(streaming.database_url, autocommit=True) as connection:
        connection.execute(statement, parameters or None)


def timeline(streaming: Isolated) -> int:
    with psycopg.connect(streaming.database_url) as connection:
        found = connection.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone()
    assert found is not None
    return int(found[0])


def flushed(streaming: Isolated) -> Lsn:
    with psycopg.connect(streaming.database_url) as connection:
        found = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert found is not None
    return Lsn.parse(found[0])


def test_a_claim_stores_all_that_the_position_is_a_position_of(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            written(streaming, "UPDATE relay.checkpoint SET timeline = 0, plugin = NULL, database = 'other'")
            before = row(streaming)
            await claimed(streaming, opened)
            database = psycopg.conninfo.conninfo_to_dict(streaming.database_url)["dbname"]
            after = row(streaming)
            assert after["epoch"] == before["epoch"] + 1
            assert (after["lsn"], after["outboxes"], after["database"], after["timeline"], after["plugin"]) == (
                before["lsn"], ["outbox.event"], database, timeline(streaming), "wal2json",
            )  # fmt: skip

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("snapshots", "last"), [([None], None), ([EARLY, None], str(EARLY)), ([EARLY, LATE], str(LATE))]
)
def test_a_save_counts_the_epoch_and_keeps_the_last_snapshot(
    streaming: Isolated, snapshots: Sequence[Snapshot | None], last: str | None
) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            position = await claimed(streaming, opened)
            before, first = row(streaming), start(streaming)
            written(streaming, "SELECT outbox.publish('t', '1', 1, 'e', '{}')")
            for step, snapshot in enumerate(snapshots):
                await position.save(at(Lsn(first + step), snapshot))
            after = row(streaming)
            assert after["epoch"] == before["epoch"] + len(snapshots)
            assert (after["lsn"], after["snapshot"]) == (
                str(Lsn(first + len(snapshots) - 1)),
                last or before["snapshot"],
            )
            assert position.wrote(await facts(streaming, opened))

    asyncio.run(scenario())


def test_a_claim_to_poll_leaves_the_plugin_of_the_slot(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            await unrecorded(opened, streaming).claim(await facts(streaming, opened), plugin=None)
            assert row(streaming)["plugin"] == "wal2json"

    asyncio.run(scenario())


STATES = (
    State("wal", Lsn(7), EARLY, Transactions([(711, 713)]), filter=Filter(EARLY, Lsn(99))),
    State("wal", Lsn(7), LATE, Transactions()),
    State("polling", Lsn(7), EARLY, Transactions([(711, 713), (720, 721)]), Round(LATE, 17), making_slot=True),
    State("polling", None, LATE, Transactions()),
)


@pytest.mark.parametrize("state", STATES)
def test_what_is_stored_is_what_is_read_again(streaming: Isolated, state: State) -> None:
    """A restart goes on from the row alone, in whichever source, and at whichever step of a change between them."""
    written(streaming, "UPDATE relay.checkpoint SET mode = 'polling', lsn = NULL")

    async def scenario() -> None:
        async with session(streaming) as opened:
            position = await claimed(streaming, opened)
            await position.save(state)
            assert (await facts(streaming, opened)).state == state
            assert position.wrote(await facts(streaming, opened))

    asyncio.run(scenario())


def test_who_claimed_before_can_no_longer_store_and_no_longer_trusts_its_memory(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            frozen = await claimed(streaming, opened)
            await claimed(streaming, opened)
            with pytest.raises(PositionLost, match="written by somebody else"):
                await frozen.save(at(start(streaming)))
            assert not frozen.wrote(await facts(streaming, opened))

    asyncio.run(scenario())


def test_a_claim_of_a_row_that_was_written_since_it_was_read_is_refused(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            found = await facts(streaming, opened)
            await claimed(streaming, opened)
            with pytest.raises(PositionLost, match="has changed since it was read"):
                await unrecorded(opened, streaming).claim(found, plugin="wal2json")

    asyncio.run(scenario())


def test_a_database_that_went_back_in_time_takes_no_position_of_the_time_that_is_gone(streaming: Isolated) -> None:
    """An older copy has the row of then; its epoch may even be the same, and its WAL may have passed the position."""

    async def scenario() -> None:
        async with session(streaming) as opened:
            position = await claimed(streaming, opened)
            copied = row(streaming)
            await position.save(at(flushed(streaming), EARLY))
            written(streaming, "UPDATE relay.checkpoint SET lsn = %s, epoch = %s", copied["lsn"], copied["epoch"])
            with pytest.raises(PositionLost, match="written by somebody else"):
                await position.save(at(flushed(streaming), LATE))
            assert not position.wrote(await facts(streaming, opened))
            assert start(streaming) == Lsn.parse(copied["lsn"])

    asyncio.run(scenario())


def test_two_saves_at_once_are_both_this_process_own(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            position = await claimed(streaming, opened)
            end, epoch = flushed(streaming), row(streaming)["epoch"]
            await asyncio.gather(position.save(at(Lsn(end - 1))), position.save(at(end)))
            assert (start(streaming), row(streaming)["epoch"]) == (end, epoch + 2)

    asyncio.run(scenario())


def test_a_server_that_was_started_again_takes_no_position_of_before(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with Saving(lambda: streaming.database_url, name="relay", slot=streaming.name) as opened:
            opened.sent = {"server_started_at": datetime(2020, 1, 1, tzinfo=UTC)}
            position, before = await claimed(streaming, opened), row(streaming)
            with pytest.raises(PositionLost, match="started again"):
                await position.save(at(flushed(streaming)))
            assert row(streaming) == before
            found = await facts(streaming, opened)
            assert position.wrote(found)
            assert not position.wrote(replace(found, server_started_at=datetime(2020, 1, 1, tzinfo=UTC)))

    asyncio.run(scenario())


def test_a_position_ahead_of_the_servers_wal_is_not_stored(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            position, before = await claimed(streaming, opened), start(streaming)
            with pytest.raises(PositionLost, match="ahead of the server's WAL"):
                await position.save(at(Lsn(flushed(streaming) + (1 << 30))))
            assert start(streaming) == before

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE outbox.event_x PARTITION OF outbox.event FOR VALUES FROM ('2031-01-01') TO ('2031-01-02')",
        "ALTER TABLE outbox.event_default RENAME TO event_other",
        "ALTER TABLE outbox.event DETACH PARTITION outbox.event_default",
    ],
)
def test_no_position_is_stored_past_a_change_of_the_partitions(streaming: Isolated, change: LiteralString) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            position, before = await claimed(streaming, opened), start(streaming)
            written(streaming, change)
            with pytest.raises(OutboxChanged):
                await position.save(at(flushed(streaming)))
            assert start(streaming) == before
            assert not position.wrote(await facts(streaming, opened))

    asyncio.run(scenario())


def test_a_poll_reads_whatever_partitions_there_are(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            position = await claimed(streaming, opened)
            written(streaming, "ALTER TABLE outbox.event DETACH PARTITION outbox.event_default")
            await position.save(replace(at(start(streaming), EARLY), mode="polling"))
            assert row(streaming)["mode"] == "polling"

    asyncio.run(scenario())


def test_a_position_behind_the_stored_one_is_not_stored(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            position, before = await claimed(streaming, opened), start(streaming)
            with pytest.raises(PositionLost, match="behind the stored position"):
                await position.save(at(Lsn(before - 1)))
            assert start(streaming) == before

    asyncio.run(scenario())


def test_a_table_that_only_looks_like_a_partition_changes_nothing(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with session(streaming) as opened:
            position = await claimed(streaming, opened)
            written(streaming, "CREATE TABLE outbox.event_backup AS SELECT * FROM outbox.event")
            await position.save(at(flushed(streaming)))

    asyncio.run(scenario())


def test_a_save_without_an_answer_that_took_place_is_this_process_own(streaming: Isolated) -> None:
    async def scenario() -> None:
        async with Saving(lambda: streaming.database_url, name="relay", slot=streaming.name) as opened:
            opened.answered = False
            position = await claimed(streaming, opened)
            with pytest.raises(SourceUnavailable):
                await position.save(at(flushed(streaming)))
            found = await facts(streaming, opened)
            assert position.wrote(found)
            assert not position.wrote(replace(found, checkpoint_lsn="0/1"))
            assert not position.wrote(replace(found, checkpoint_epoch=(found.checkpoint_epoch or 0) + 1))

    asyncio.run(scenario())


def test_a_slot_has_one_relay(streaming: Isolated) -> None:
    insert: LiteralString = "INSERT INTO relay.checkpoint VALUES ('second', %s, '0/1', '7', 1)"
    with pytest.raises(psycopg.errors.UniqueViolation, match="a slot has one relay"):
        written(streaming, insert, streaming.name)


def test_an_upgrade_keeps_the_latest_row_of_each_slot(isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay, inbox CASCADE")
        connection.execute("DROP SCHEMA outbox_setup CASCADE")
        files = sql.schema()
        monkeypatch.setattr(sql, "schema", lambda: [file for file in files if file.name < "006"])
        apply(connection)
        connection.execute(
            "INSERT INTO relay.checkpoint VALUES ('old name', 'outbox_relay', '0/8', '7', 1, '2020-01-01')"
        )
        connection.execute("INSERT INTO relay.checkpoint VALUES ('relay', 'outbox_relay', '0/10', '7', 1)")
        monkeypatch.undo()
        assert [file.name for file in apply(connection).files] == [file.name for file in files if file.name >= "006"]
        rows = connection.execute("SELECT name, lsn::text, mode, snapshot, epoch FROM relay.checkpoint").fetchall()
    assert rows == [("relay", "0/10", "wal", None, 0)]


def test_a_row_of_the_wal_without_an_lsn_is_refused(isolated: Isolated) -> None:
    insert = "INSERT INTO relay.checkpoint (name, slot, system_identifier, timeline) VALUES ('r', 's', '7', 1)"
    with pytest.raises(psycopg.errors.CheckViolation, match="a position in the WAL has an LSN"):
        written(isolated, insert)


def test_the_relays_own_writes_wait_for_no_standby(streaming: Isolated) -> None:
    """A synchronous standby that is away holds up every commit, and must not hold up these."""

    async def scenario() -> None:
        async with session(streaming) as opened:
            position = await claimed(streaming, opened)
            written(streaming, "ALTER SYSTEM SET synchronous_standby_names = 'nowhere'")
            written(streaming, "SELECT pg_reload_conf()")
            try:
                async with asyncio.timeout(10):
                    await position.save(at(flushed(streaming)))
            finally:
                with psycopg.connect(streaming.database_url, autocommit=True) as connection:
                    connection.execute("SET synchronous_commit = local")
                    connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
                    connection.execute("SELECT pg_reload_conf()")

    asyncio.run(scenario())


def test_the_slot_of_another_database_or_outbox_is_neither_set_up_nor_dropped(streaming: Isolated) -> None:
    other = settings(streaming, outbox_table="public.outbox")
    for accept_gap in (False, True):
        with pytest.raises(OtherOutbox, match=r"outbox\.event.*public\.outbox"):
            list(setup(other, accept_gap=accept_gap))
