"""`relay setup --from now|start`: what a relay publishes that has no position yet."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from relay.operating.setup import beginning
from sandbox import Isolated
from sandbox.machine.waiting import until
from tests.integration.relay.operating.setup import shop
from tests.integration.relay.stage import call, environment, one, publish, staged
from tests.support.stage import Stage
from tests.support.tap import Tap

SEEN = "SELECT NOT EXISTS (SELECT FROM {} WHERE tx IS NOT NULL AND NOT pg_visible_in_snapshot(tx, c.snapshot))"
CHECKPOINTS = "SELECT count(*) FROM relay.checkpoint"
WITHOUT_TX = "SELECT count(*) FROM shop.outbox WHERE tx IS NULL"
OLD = 300
FROM_ANOTHER_SERVER = """
INSERT INTO outbox.event (tx, aggregate_type, aggregate_id, aggregate_version, event_type, payload)
SELECT (pg_current_xact_id()::text::bigint + 1000 + n)::text::xid8, 'order', n, 1, 'restored', '{}'
FROM generate_series(1, 5) AS n RETURNING id::text
"""


@contextmanager
def relaying(isolated: Isolated, directory: Path, mode: str, **settings: str) -> Iterator[Stage]:
    """Run a relay during the block, which begins when it is in `mode`."""
    with staged(isolated, directory) as stage:
        relay = stage.start("relay", "run", **settings)
        mine = "SELECT mode FROM relay.checkpoint"
        until(lambda: one(isolated.database_url, mine) == mode, what=f"the mode is {mode}", seconds=60)
        yield stage
        assert relay.terminate() == 0


def published(isolated: Isolated, table: str) -> None:
    """Wait until the relay's stored snapshot sees every row that has a `tx`."""
    query = f"{SEEN.format(table)} FROM relay.checkpoint AS c WHERE c.snapshot IS NOT NULL".encode()

    def seen() -> bool:
        with psycopg.connect(isolated.database_url) as connection:
            row = connection.execute(query).fetchone()
        return row is not None and bool(row[0])

    until(seen, what="the stored snapshot sees all", seconds=60)


def tap_of(isolated: Isolated) -> Tap:
    """Return a tap; the exchange is there."""
    return Tap(isolated.amqp_url, queue=isolated.queue("tap"), exchange=isolated.name)


@pytest.mark.parametrize("mode", ["wal", "polling"])
@pytest.mark.parametrize("start", ["now", "start"])
def test_rows_from_before_the_column_are_published_once_or_not_at_all(
    start: str, mode: str, isolated: Isolated, tmp_path: Path
) -> None:
    """Also those that are committed while setup runs, and while the relay goes from polling to the WAL."""
    source = {"wal": "auto", "polling": "polling"}[mode]
    shop.create(isolated, OLD)
    with ExitStack() as stack:
        with shop.load(isolated, writers=1) as waits:
            said = call(shop.variables(isolated, RELAY_SOURCE=source), "setup", "--add-tx-column", "--from", start)
            assert said.code == 0, said.output
            assert f"from {start}" in said.output
            known = shop.ids(isolated, "tx IS NOT NULL")
            tap = tap_of(isolated)
            stack.enter_context(relaying(isolated, tmp_path, mode, RELAY_SOURCE=source, **shop.settings()))
            written = len(waits)
            until(lambda: len(waits) > written + 5, what="writers go on", seconds=30)
        shop.insert(isolated, 7)
        published(isolated, shop.TABLE)
    found = [delivery.message for delivery in tap.drain()]
    everything, old = shop.ids(isolated), shop.ids(isolated, "tx IS NULL")
    assert len(found) == len(set(found))
    assert found == [each for each in everything if each in set(found)]
    if start == "start":
        assert not old
        assert set(known) <= set(found)
        assert everything[:OLD] == found[:OLD]
    else:
        assert len(old) >= OLD
        assert not set(old) & set(found)
    assert set(everything[-7:]) <= set(found)


def test_a_setup_that_was_interrupted_goes_on_and_no_relay_passes_over_what_is_left(
    isolated: Isolated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginning, "_BLOCKS", 1)
    shop.create(isolated, OLD)
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no further than this'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON shop.outbox FOR EACH ROW WHEN (OLD.number = 200)"
            " EXECUTE FUNCTION shop.refuse()"
        )
        said = call(shop.variables(isolated), "setup", "--add-tx-column", "--from", "start")
        assert said.code == 1
        assert "no further than this" in said.output
        assert 0 < one(isolated.database_url, WITHOUT_TX) < OLD
        assert one(isolated.database_url, CHECKPOINTS) == 0  # so no relay can run
        connection.execute("DROP TRIGGER refuse ON shop.outbox")

    assert call(shop.variables(isolated), "setup", "--from", "start").code == 0
    assert one(isolated.database_url, WITHOUT_TX) == 0
    assert one(isolated.database_url, "SELECT count(DISTINCT tx::text) FROM shop.outbox") > 2
    tap = tap_of(isolated)
    with relaying(isolated, tmp_path, "wal", **shop.settings()):
        published(isolated, shop.TABLE)
    assert [delivery.message for delivery in tap.drain()] == shop.ids(isolated)


def test_a_trigger_that_keeps_rows_as_they_were_is_told(isolated: Isolated) -> None:
    shop.create(isolated, 3)
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute(
            "CREATE FUNCTION shop.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
        )
        connection.execute("CREATE TRIGGER keep BEFORE UPDATE ON shop.outbox FOR EACH ROW EXECUTE FUNCTION shop.keep()")
    said = call(shop.variables(isolated), "setup", "--add-tx-column", "--from", "start")
    assert said.code == 1
    assert "a trigger of the table may refuse updates" in said.output


def test_rows_from_before_the_column_are_not_published_again_by_another_relay(isolated: Isolated) -> None:
    shop.create(isolated, 3)
    assert call(shop.variables(isolated), "setup", "--add-tx-column").code == 0
    second = shop.variables(isolated, RELAY_NAME="second", RELAY_SOURCE="polling")
    said = call(second, "setup", "--from", "start")
    assert said.code == 1
    assert "they would be published again by relay 'relay'" in said.output
    assert one(isolated.database_url, WITHOUT_TX) == 3
    assert call(second, "setup", "--from", "now").code == 0


@pytest.mark.parametrize("start", ["now", "start", None])
def test_a_first_start_publishes_from_there_and_a_second_setup_changes_nothing(
    start: str | None, isolated: Isolated, tmp_path: Path
) -> None:
    before = publish(isolated.database_url, "a", "b")
    assert call(environment(isolated), "setup", *(["--from", start] if start else [])).code == 0
    after = publish(isolated.database_url, "c")
    for again in ("now", "start"):
        assert "from the stored position" in call(environment(isolated), "setup", "--from", again).output
    tap = tap_of(isolated)
    with relaying(isolated, tmp_path, "wal"):
        after += publish(isolated.database_url, "d")
        published(isolated, "outbox.event")
    assert [delivery.message for delivery in tap.drain()] == (before if start == "start" else []) + after


def test_the_start_cannot_be_read_from_the_wal(isolated: Isolated) -> None:
    said = call(environment(isolated, RELAY_SOURCE="wal"), "setup", "--from", "start")
    assert said.code == 1
    assert "with RELAY_SOURCE=auto" in said.output
    assert one(isolated.database_url, CHECKPOINTS) == 0
    assert call(environment(isolated), "setup", "--from", "start").code == 0


@pytest.mark.parametrize("start", ["now", "start"])
def test_rows_of_another_server_are_not_published_when_its_transactions_numbers_come(
    start: str, isolated: Isolated, tmp_path: Path
) -> None:
    """They came by a restore, and name transactions that are yet to come here."""
    with psycopg.connect(isolated.database_url) as connection:
        restored = [row[0] for row in connection.execute(FROM_ANOTHER_SERVER.encode())]
    assert call(environment(isolated, RELAY_SOURCE="polling"), "setup", "--from", start).code == 0
    tap = tap_of(isolated)
    with relaying(isolated, tmp_path, "polling", RELAY_SOURCE="polling"):
        with psycopg.connect(isolated.database_url, autocommit=True) as connection:
            for _ in range(1100):
                connection.execute("SELECT pg_current_xact_id()")
        later = publish(isolated.database_url, "later")
        published(isolated, "outbox.event")
    assert [each.message for each in tap.drain()] == (restored if start == "start" else []) + later
