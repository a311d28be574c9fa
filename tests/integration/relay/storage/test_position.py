"""The stored position on a real Postgres: with its identity and an epoch, and never back on the same slot."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from outboxkit import sql
from outboxkit.sql.apply import apply
from relay.core.position import Lsn, Snapshot
from relay.storage.position import Identity, StoredPosition
from relay.storage.session import Session
from sandbox.lifetime.isolation import Isolated

IDENTITY = Identity("relay", "outbox_relay", "wal2json", ["outbox.event", "message:orders"], "7000000000000000001", 3)
EARLY, LATE = Snapshot(700, 710, (701, 705)), Snapshot(720, 720)


def save(isolated: Isolated, *saves: tuple[Identity, Lsn, Snapshot | None]) -> dict[str, Any]:
    """Save positions one after the other, and return the row that is left."""

    async def scenario() -> None:
        async with Session(lambda: isolated.database_url, name="relay", slot="outbox_relay") as session:
            for each in saves:
                await StoredPosition(session).save(*each)

    asyncio.run(scenario())
    with psycopg.connect(isolated.database_url, row_factory=dict_row) as connection:
        row = connection.execute("SELECT *, lsn::text, snapshot::text FROM relay.checkpoint").fetchone()
    assert row is not None
    return row


def test_a_position_is_stored_with_all_that_it_is_a_position_of(isolated: Isolated) -> None:
    row = save(isolated, (IDENTITY, Lsn(0x10), EARLY))
    database = psycopg.conninfo.conninfo_to_dict(isolated.database_url)["dbname"]

    assert {name: row[name] for name in ("name", "slot", "plugin", "outboxes", "system_identifier", "timeline")} == {
        "name": "relay",
        "slot": "outbox_relay",
        "plugin": "wal2json",
        "outboxes": ["outbox.event", "message:orders"],
        "system_identifier": "7000000000000000001",
        "timeline": 3,
    }
    assert (row["database"], row["mode"], row["lsn"], row["snapshot"]) == (database, "wal", "0/10", str(EARLY))


def test_the_epoch_counts_the_saves(isolated: Isolated) -> None:
    assert save(isolated, (IDENTITY, Lsn(1), None))["epoch"] == 1
    assert save(isolated, (IDENTITY, Lsn(2), None), (IDENTITY, Lsn(2), None))["epoch"] == 3


@pytest.mark.parametrize(
    ("saves", "lsn", "snapshot"),
    [
        ([(Lsn(0x20), LATE), (Lsn(0x10), EARLY)], "0/20", str(LATE)),
        ([(Lsn(0x10), EARLY), (Lsn(0x20), None)], "0/20", str(EARLY)),
        ([(Lsn(0x10), EARLY), (Lsn(0x20), LATE)], "0/20", str(LATE)),
        ([(Lsn(0x10), EARLY), (Lsn(0x10), LATE)], "0/10", str(LATE)),
        ([(Lsn(0x9), EARLY), (Lsn(0x10), None)], "0/10", str(EARLY)),
    ],
)
def test_a_position_and_its_snapshot_never_go_back_on_the_same_slot(
    isolated: Isolated, saves: Sequence[tuple[Lsn, Snapshot | None]], lsn: str, snapshot: str
) -> None:
    row = save(isolated, *((IDENTITY, *each) for each in saves))

    assert (row["lsn"], row["snapshot"]) == (lsn, snapshot)


@pytest.mark.parametrize("other", [replace(IDENTITY, slot="other"), replace(IDENTITY, system_identifier="8")])
def test_a_position_of_another_slot_or_system_replaces_the_one_before_it(isolated: Isolated, other: Identity) -> None:
    row = save(isolated, (IDENTITY, Lsn(0x20), LATE), (other, Lsn(0x10), None))

    assert (row["lsn"], row["snapshot"], row["slot"], row["system_identifier"]) == (
        "0/10", None, other.slot, other.system_identifier,
    )  # fmt: skip


def test_an_upgrade_keeps_the_rows_of_the_version_before(isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay CASCADE")
        connection.execute("DROP SCHEMA outbox_setup CASCADE")
        files = sql.schema()
        monkeypatch.setattr(sql, "schema", lambda: [file for file in files if file.name < "006"])
        apply(connection)
        connection.execute("INSERT INTO relay.checkpoint VALUES ('relay', 'outbox_relay', '0/10', '7', 1)")
        monkeypatch.undo()
        assert [file.name for file in apply(connection).files] == [file.name for file in files if file.name >= "006"]
        row = connection.execute("SELECT lsn::text, mode, snapshot, epoch FROM relay.checkpoint").fetchone()
    assert row == ("0/10", "wal", None, 0)


def test_a_row_of_the_wal_without_an_lsn_is_refused(isolated: Isolated) -> None:
    insert = "INSERT INTO relay.checkpoint (name, slot, system_identifier, timeline) VALUES ('r', 's', '7', 1)"
    with (
        psycopg.connect(isolated.database_url) as connection,
        pytest.raises(psycopg.errors.CheckViolation, match="a position in the WAL has an LSN"),
    ):
        connection.execute(insert)
