"""`relay audit`: what it finds, what it names, and what it does not call clean."""

from datetime import timedelta
from typing import LiteralString

import psycopg
import pytest

from outboxkit import sql
from relay.operating.audit.asking import Asking
from sandbox import Isolated
from tests.integration.relay.operating.audit.audit_stage import Played
from tests.integration.relay.stage import call, environment, one
from tests.support.stage import Stage
from tests.support.tap import Tap

STREAMED: LiteralString = """
INSERT INTO relay.confirmed (relay, seqs, ids, ids_hash)
SELECT 'relay', int8multirange(int8range(seq, seq, '[]')), ARRAY[id], hashtextextended(id::text, 0)
FROM (SELECT %s::uuid AS id, %s::bigint AS seq) AS event
"""
PARKED: LiteralString = """
INSERT INTO relay.parked (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers,
                          created_at, relay, reason, detail, outbox)
SELECT id::text, seq, aggregate_type, aggregate_id, aggregate_version, event_type, '', '{}',
       created_at, 'relay', 'returned', '', 'outbox.event'
FROM outbox.event WHERE id = %s::uuid
"""
PARTITION: LiteralString = (
    "CREATE TABLE outbox.event_20200101 PARTITION OF outbox.event FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
)
WRITTEN: LiteralString = "SELECT outbox.publish('order', 'w', 1, 'paid', '{}')::text, currval('outbox.event_seq_seq')"


@pytest.fixture
def played(ready: Isolated) -> Played:
    """Return an outbox with a record of confirms and one position of the past."""
    found = Played(ready)
    found.publish()
    found.note()
    return found


def named(found: list[dict[str, object]]) -> set[object]:
    return {each["id"] for each in found}


def test_what_was_confirmed_or_parked_is_clean_and_what_is_not_published_yet_is_pending(played: Played) -> None:
    ids = played.write(5)
    played.publish(ids)
    played.note()
    played.write(2)
    said = played.audit()
    assert said.code == 0, said.output
    totals = said.json["totals"]
    assert said.json["verdict"] == "clean"
    assert (totals["committed"], totals["confirmed"], totals["pending"], totals["missing"]) == (7, 5, 2, 0)
    assert sum(each["confirmed"] for each in said.json["buckets"]) == 5


def test_an_event_that_the_position_covers_and_no_confirm_does_is_named_as_missing(played: Played) -> None:
    ids = played.write(300)
    skipped = ids[7::2]
    played.publish([each for each in ids if each not in skipped])
    played.note()
    said = played.audit()
    assert said.code == 3
    assert said.json["totals"]["missing"] == len(skipped)
    assert named(said.json["missing"]) == set(skipped[:100])
    assert named(played.audit("--ids").json["missing"]) == set(skipped)
    text = call(environment(played.isolated), "audit")
    assert f"missing: {skipped[0]}," in text.output
    assert f"missing: {ids[0]}," not in text.output


def test_nothing_to_compare_is_no_success(played: Played) -> None:
    played.note()
    said = played.audit()
    assert (said.code, said.json["verdict"]) == (3, "nothing to compare")
    played.write(1)  # and it is not published yet
    assert played.audit().json["verdict"] == "nothing to compare"


def test_what_another_relay_has_confirmed_does_not_count(played: Played) -> None:
    ids = played.write(2)
    played.confirm(ids, relay="other")
    played.publish(ids[:1])
    played.note()
    assert named(played.audit().json["missing"]) == {ids[1]}


def test_a_transaction_that_ends_late_is_pending_and_then_compared(played: Played) -> None:
    with psycopg.connect(played.url) as late:
        late.execute("SELECT outbox.publish('order', 'late', 1, 'paid', '{}')")
        ids = played.write(3)
        played.publish(ids)
        played.note()
        said = played.audit()
        assert (said.code, said.json["totals"]["committed"]) == (0, 3)
    played.publish()  # passes over the late one
    played.note()
    (missing,) = played.audit().json["missing"]
    assert missing["aggregate_id"] == "late"


def test_a_commit_that_was_streamed_before_it_is_visible_is_neither_extra_nor_missing(played: Played) -> None:
    ids = played.write(2)
    played.publish(ids)
    with psycopg.connect(played.url) as waits:
        row = waits.execute(WRITTEN).fetchone()
        assert row is not None
        assert played.run(STREAMED, *row) == 1
        played.note()
        said = played.audit()
        assert (said.code, said.json["totals"]["extra"]) == (0, 0), said.output
    played.publish()
    played.note()
    said = played.audit()
    assert (said.code, said.json["totals"]["confirmed"], said.json["totals"]["extra"]) == (0, 3, 0), said.output


def test_a_row_that_was_deleted_by_hand_is_named(played: Played) -> None:
    ids = played.write(5)
    played.publish(ids)
    assert played.run("DELETE FROM outbox.event WHERE id = %s::uuid", ids[2]) == 1
    played.note()
    said = played.audit()
    assert (said.code, said.json["verdict"], named(said.json["extra"])) == (3, "extra", {ids[2]})


def test_a_deleted_row_is_named_by_its_number_once_its_record_was_merged(played: Played) -> None:
    ids = played.write(5)
    played.publish(ids)
    seq = one(played.url, "SELECT seq FROM outbox.event WHERE id = %s::uuid", ids[2])
    played.run("DELETE FROM outbox.event WHERE id = %s::uuid", ids[2])
    played.run("UPDATE relay.confirmed SET ids = NULL")
    played.note()
    assert [(each["seq"], each["id"]) for each in played.audit().json["extra"]] == [(seq, None)]


def test_an_id_that_was_changed_is_named(played: Played) -> None:
    ids = played.write(5)
    played.publish(ids)
    other = one(played.url, "SELECT gen_random_uuid()::text")
    assert played.run("UPDATE outbox.event SET id = %s::uuid WHERE id = %s::uuid", other, ids[3]) == 1
    played.note()
    said = played.audit()
    (changed,) = said.json["changed"]
    assert (said.code, said.json["verdict"], changed["confirmed"], changed["id"]) == (3, "changed", ids[3], other)


def test_parked_events_are_accounted_for_and_so_are_those_from_before_the_record(ready: Isolated) -> None:
    played = Played(ready)
    played.note()
    before = played.write(4)
    played.publish()
    played.run("UPDATE relay.checkpoint SET recorded_since = snapshot")
    parked, *ids = played.write(3)
    assert played.run(PARKED, parked) == 1
    played.publish(ids)
    played.note()
    said = played.audit()
    totals = said.json["totals"]
    assert (said.code, totals["parked"], totals["confirmed"], totals["unrecorded"]) == (0, 1, 2, len(before))
    assert any("4 events are older than the record of confirms" in note for note in said.json["notes"])


def test_where_a_relay_of_an_earlier_version_has_run_the_record_ends(played: Played) -> None:
    played.publish(played.write(1))
    played.note()
    played.run("UPDATE relay.checkpoint SET epoch = epoch + 1")
    said = played.audit()
    assert said.code == 1
    assert "a relay of an earlier version has stored a position since" in said.output


def test_what_retention_removed_is_compared_by_its_numbers(played: Played) -> None:
    ids = played.write(6)
    played.run("UPDATE outbox.event SET created_at = '2020-01-01 12:00Z'")  # moves them to the default partition
    played.publish(ids)
    played.note()
    assert one(played.url, "SELECT outbox.drain_default('1 day')") == 6
    said = played.audit()
    assert (said.code, said.json["verdict"], said.json["totals"]["extra"]) == (0, "clean", 0), said.output
    assert [(each["events"], each["judged"], each["missing"]) for each in said.json["retired"]] == [(6, True, 0)]

    skipped, *ids = played.write(3)
    seq = one(played.url, "SELECT seq FROM outbox.event WHERE id = %s::uuid", skipped)
    played.run("UPDATE outbox.event SET created_at = '2020-01-01 12:00Z'")
    played.publish(ids)
    played.note()
    assert one(played.url, "SELECT outbox.drain_default('1 day')") == 3
    said = played.audit()
    assert (said.code, said.json["totals"]["missing"]) == (3, 1)
    assert [each["missing_seqs"] for each in said.json["retired"]] == ["{}", f"{{[{seq},{seq + 1})}}"]


def test_what_an_earlier_version_removed_is_not_judged(played: Played) -> None:
    played.publish(played.write(1))
    played.note()
    played.run("INSERT INTO outbox.retired (partition, events, last_seq, ids_hash) VALUES ('event_20200101', 7, 90, 0)")
    said = played.audit()
    assert (said.code, said.json["retired"][0]["judged"]) == (0, False)
    assert any("7 events that retention removed" in note for note in said.json["notes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "yesterday"], "--since 'yesterday' is not a time"),
        (["--since", "1h", "--until", "2h"], "--since is not before --until"),
        (["--bucket", "0m"], "--bucket '0m' is not a duration"),
    ],
)
def test_wrong_usage_is_refused(arguments: list[str], words: str, isolated: Isolated) -> None:
    said = call(environment(isolated), "audit", *arguments)
    assert said.code == 2
    assert words in said.output


def test_an_outbox_that_is_not_recorded_is_refused(isolated: Isolated) -> None:
    said = call(environment(isolated, RELAY_OUTBOX_TABLE="shop.outbox"), "audit")
    assert said.code == 2
    assert "confirms are recorded for that table only" in said.output


def test_a_repair_publishes_exactly_the_missing_ones_and_the_next_audit_is_clean(played: Played, stage: Stage) -> None:
    tap = Tap(played.isolated.amqp_url, queue=played.isolated.queue("tap"), exchange=played.isolated.name)
    ids = played.write(20)
    skipped = {ids[3], ids[11], ids[12]}
    played.publish([each for each in ids if each not in skipped])
    played.note()
    refused = stage.run("relay", "audit", "--repair")
    assert refused.process.returncode == 2
    assert "add --yes" in refused.stderr
    repair = stage.run("relay", "audit", "--repair", "--yes")
    assert repair.process.returncode == 0, repair.stderr
    assert {delivery.message for delivery in tap.drain()} == skipped
    said = played.audit()
    assert (said.code, said.json["totals"]["confirmed"]) == (0, 20), said.output
    assert played.audit("--repair").code == 0


def test_what_was_committed_between_setup_and_the_first_position_is_audited(ready: Isolated) -> None:
    played = Played(ready)
    skipped, *ids = played.write(4)
    played.publish(ids)
    said = played.audit()
    assert named(said.json["missing"]) == {skipped}
    assert said.json["buckets"][0]["after"] is None
    played.note()
    assert named(played.audit().json["missing"]) == {skipped}
    assert "the record's begin" in call(environment(ready), "audit").output


def test_a_record_that_was_shortened_makes_nothing_missing(played: Played) -> None:
    forgotten = played.write(3)
    played.publish(forgotten)
    played.run("UPDATE relay.checkpoint_history SET at = at - interval '3 days'")
    played.run("UPDATE relay.confirmed SET at = at - interval '3 days'")
    played.note()
    played.publish(played.write(2))
    with psycopg.connect(played.url) as connection:
        connection.execute(sql.query("position_thin"), {"relay": "relay", "keep": timedelta(days=2)})
    assert one(played.url, "SELECT count(*) FROM relay.confirmed") == 1
    said = played.audit("--since", "9d")
    assert (said.code, said.json["totals"]["missing"], said.json["totals"]["confirmed"]) == (0, 0, 2), said.output


def test_after_a_repair_the_answer_is_about_what_is_left(played: Played, stage: Stage) -> None:
    Tap(played.isolated.amqp_url, queue=played.isolated.queue("tap"), exchange=played.isolated.name)
    skipped, deleted, *ids = played.write(5)
    played.publish([deleted, *ids])
    played.run("DELETE FROM outbox.event WHERE id = %s::uuid", deleted)
    played.note()
    repair = stage.run("relay", "audit", "--repair", "--yes")
    assert repair.process.returncode == 3
    assert "1 extra" in repair.stderr
    assert "missing" not in repair.stderr
    said = played.audit()
    assert (said.json["verdict"], said.json["totals"]["confirmed"]) == ("extra", 4)
    assert not named(said.json["missing"]) & {skipped}


def test_a_record_that_was_shortened_makes_nothing_missing_while_an_old_transaction_is_open(ready: Isolated) -> None:
    with psycopg.connect(ready.database_url) as late:
        late.execute("SELECT pg_current_xact_id()")
        played = Played(ready)
        played.run("UPDATE relay.checkpoint SET recorded_since = pg_current_snapshot()")
        played.note()
        played.publish(played.write(3))
        age(played)
        played.note()
        thin(played)
        assert one(played.url, "SELECT count(*) FROM relay.confirmed") == 0
        said = played.audit("--since", "9d")
        assert said.json["totals"]["missing"] == 0, said.output


def test_after_a_relay_was_away_for_longer_than_its_record_is_kept_nothing_is_missing(played: Played) -> None:
    played.publish(played.write(3))
    age(played)
    thin(played)  # no position is left
    played.note()
    thin(played)
    assert one(played.url, "SELECT count(*) FROM relay.confirmed") == 0
    said = played.audit("--since", "9d")
    assert said.json["totals"]["missing"] == 0, said.output


def age(played: Played) -> None:
    """Let everything that is recorded be three days old."""
    played.run("UPDATE relay.checkpoint_history SET at = at - interval '3 days'")
    played.run("UPDATE relay.confirmed SET at = at - interval '3 days'")


def thin(played: Played) -> None:
    """Remove what is older than two days."""
    with psycopg.connect(played.url) as connection:
        connection.execute(sql.query("position_thin"), {"relay": "relay", "keep": timedelta(days=2)})


def test_while_an_audit_looks_no_partition_is_dropped(played: Played) -> None:
    """Between what an audit sees and the rows that it reads, nothing may be removed: it would have no account of it."""
    drop = "SELECT outbox.drop_partition('event_20200101', '1 day')"
    with psycopg.connect(played.url, autocommit=True) as looking:
        looking.execute(PARTITION)
        played.publish(played.write(4))
        asking = Asking(looking, "relay")
        with asking.moment():
            assert asking.facts() is not None
            assert "it is in use" in str(one(played.url, drop))
        assert one(played.url, drop) is None


def test_what_was_streamed_before_the_record_began_is_not_missing_when_retention_has_removed_it(played: Played) -> None:
    before = played.write(3)
    played.run("UPDATE outbox.event SET created_at = '2020-01-01 12:00Z'")
    played.run(
        "UPDATE relay.checkpoint SET recorded_besides = (SELECT int8multirange(int8range(min(tx::text::bigint), "
        "max(tx::text::bigint), '[]')) FROM outbox.event)"
    )
    played.publish()
    played.note()
    assert one(played.url, "SELECT outbox.drain_default('1 day')") == len(before)
    said = played.audit()
    assert [(each["events"], each["judged"], each["missing"]) for each in said.json["retired"]] == [(3, False, 0)]


def test_on_another_system_the_record_begins_anew(played: Played) -> None:
    """Its transactions have other numbers, so what the record began with says nothing about them."""
    played.run("UPDATE relay.checkpoint SET system_identifier = '1', recorded_since = '4000000:4000000:'")
    with psycopg.connect(played.url, autocommit=True) as connection:
        slot = played.isolated.name
        connection.execute(sql.query("checkpoint_reset"), {"name": "relay", "slot": slot, "outboxes": ["outbox.event"]})
    played.run("UPDATE relay.checkpoint SET snapshot = pg_current_snapshot()")
    played.publish()
    played.note()
    skipped, *ids = played.write(3)
    played.publish(ids)
    played.note()
    said = played.audit()
    assert (said.code, named(said.json["missing"])) == (3, {skipped}), said.output
