"""`relay replay` needs what sql/roles.sql grants to outbox_operator, and nothing beside it."""

from tests.integration.relay.stage import one, publish
from tests.integration.schema.sites import Site
from tests.support.tap import Tap


def test_an_operator_replays_resumes_lists_and_has_parked_what_no_queue_takes(site: Site) -> None:
    isolated = site.isolated
    tap = Tap(isolated.amqp_url, queue=isolated.queue("tap"), exchange=isolated.name)
    first, last = publish(isolated.database_url, "a"), publish(isolated.database_url, "b")
    begin = ("replay", "--from-event", *first, "--yes")
    assert one(isolated.database_url, "SELECT relay.note_position('relay', interval '0')")
    said = site.call("operator", *begin, "--json")
    assert said.code == 0, said.output
    assert [delivery.message for delivery in tap.drain()] == first + last
    tap.unbind()
    assert site.call("operator", *begin).code == 3
    assert one(isolated.database_url, "SELECT count(*) FROM relay.parked") == 2
    jobs = site.call("operator", "replay", "list", "--json").json
    assert [job["parked"] for job in jobs] == [2, 0]
    assert {job["created_by"] for job in jobs} == {"operator"}


def test_a_writer_is_told_whose_command_it_is(site: Site) -> None:
    (event,) = publish(site.isolated.database_url, "a")
    said = site.call("application", "replay", "--from-event", event, "--yes")
    assert said.code == 1
    assert "outbox_operator" in said.output, said.output


def test_an_operator_is_not_told_to_take_replication_for_a_replay_from_the_wal(site: Site) -> None:
    slot = one(
        site.isolated.database_url, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    )
    said = site.call("operator", "replay", "--from-slot", str(slot), "--dry-run")
    assert said.code == 1
    assert "lacks REPLICATION" in said.output
    assert "run it with the relay's own role" in said.output
    assert "ALTER ROLE" not in said.output


def test_a_writer_is_told_who_may_audit(site: Site) -> None:
    for command in ("audit", "positions"):
        said = site.call("application", command)
        assert (said.code, "outbox_auditor" in said.output) == (1, True), said.output
