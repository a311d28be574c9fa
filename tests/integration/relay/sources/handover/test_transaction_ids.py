"""Transaction ids have 64 bits, and a stream carries the low 32: both sources go on where these begin again at 0."""

import shutil
from collections.abc import Iterator

import psycopg
import pytest

from outboxkit.sql.apply import apply
from sandbox import Isolated
from sandbox.lifetime import private
from sandbox.servers.backend import Extra
from sandbox.servers.postgres import Postgres
from tests.integration.relay.sources.handover.scene import RIGHT, Scene, names

_WRAP = 2**32
_BEFORE = 10_000
"""How many ids are left before the low bits begin again: a relay draws ids all the time, whatever is written."""
_NEAR = 400
"""How many are left when the hand-overs begin."""
_DRAW = "DO $$ BEGIN FOR n IN 1..200 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
_SEGMENT = 2**20
"""Ids whose outcome is in one file of pg_xact, which has two bits for each."""


@pytest.fixture(scope="module")
def old_server() -> Iterator[Postgres]:
    """Start a server that has given out nearly 2^32 ids.

    https://www.postgresql.org/docs/current/app-pgresetwal.html
    """
    configuration = "autovacuum = off\nsynchronous_standby_names = 'nobody'\nsynchronous_commit = local\n"
    with private.postgres(Extra(configuration)) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            apply(connection)
            connection.execute("VACUUM (FREEZE)")  # the ids in the rows would lie in the future
        server.stop()
        following = _WRAP - _BEFORE
        server.run(
            "pg_resetwal", "--pgdata", str(server.cluster), "--next-transaction-id", str(following),
            "--oldest-transaction-id", str(following - 1000),
        )  # fmt: skip
        segment = server.cluster / "pg_xact" / f"{following // _SEGMENT:04X}"
        segment.write_bytes(bytes(_SEGMENT // 4))
        shutil.chown(segment, server.cluster.owner(), server.cluster.group())
        server.start()
        yield server


def test_a_hand_over_goes_on_while_the_low_bits_of_ids_begin_again(
    old_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K, the filter, X and the fences are about ids on both sides of it.

    The control reads the low bits as the whole id: K and the filter do not know what was published.
    """
    monkeypatch.setattr("relay.sources.handover.handover._LOOK_EVERY", 0.05)
    scene = Scene(old_server, Isolated(old_server.url, "amqp://127.0.0.1", "wrap"))

    def latest() -> int:
        return int(scene.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text"))

    scene.begin()
    hidden = scene.writer()
    with scene.relay() as relay:
        scene.reads("wal")
        since = hidden.write("hidden").xid()
        assert since < _WRAP
        hidden.commit(hidden=True)
        scene.has("hidden")
        scene.fenced()
        with psycopg.connect(scene.url, autocommit=True) as writer:
            assert latest() < _WRAP
            while latest() < _WRAP - _NEAR:
                writer.execute(_DRAW)
            number = 0
            while number < 150 or latest() < _WRAP + 10:
                writer.execute("SELECT outbox.publish('thing', %s, 1, 'changed', '{}')", [f"across {number}"])
                number += 1
                if number == 50:
                    scene.ask("polling")
                elif number == 100:
                    scene.ask("wal")
        scene.fenced()
        assert scene.streamed(since)
        scene.ask("polling")
        scene.write("polled")
        scene.has("polled")
        scene.ask("wal")
        scene.write("streamed")
        scene.has("streamed")
        scene.execute("UPDATE relay.checkpoint SET wanted = 'polling'")
        scene.reads("polling")
        hidden.show()
        relay.reads_on()
        scene.drop_slot()
        scene.ask("wal")  # over a new slot
        scene.write("behind")
        scene.has("behind")
    hidden.close()
    assert scene.verdict() == RIGHT
    assert {"hidden", "streamed", "behind"} <= {*names(scene.published, "wal")}
    assert "polled" in names(scene.published, "polling")

    # The control: what a stream carries is not the id.
    assert scene.value("SELECT count(*) FROM outbox.event WHERE tx::text::bigint >= 2::bigint ^ 32") > 0
    for each in (_WRAP - 10, _WRAP - 1, _WRAP + 3, _WRAP + 5):
        assert scene.value("SELECT relay.transaction_id(%s)::text::bigint", each % _WRAP) == each
