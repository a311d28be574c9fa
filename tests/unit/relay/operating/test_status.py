"""`relay status`: the last error and the throughput."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from relay.operating.members import Member
from relay.operating.slot.statements import Checkpoint, Slot
from relay.operating.status import command
from relay.operating.status.document import Backlog, Change, Parked, Status, bad, document, throughput
from relay.operating.status.last_error import last_error, wrong
from relay.operating.status.local_relay import LocalRelay
from relay.watching.metrics import About
from tests.support.examples import SLOT

LOCAL = LocalRelay(
    About("relay", "s", "d", "1"),
    mode="wal",
    in_flight=3,
    lag_seconds=0.5,
    confirmed=10.0,
    blocked=False,
    held=False,
    not_ready=(),
)
AT = datetime(2026, 1, 1, tzinfo=UTC)
STATUS = Status("relay", AT, "0/20", SLOT, None, 0, LOCAL, None, None, None, None)
HELD = replace(SLOT, holder_pid=7, holder_name="relay")
POLLS = Checkpoint("s", "polling", "0/10", "5:5:", False, "auto", "1", 1, AT)
LOST = Change("wal", "polling", "slot lost", "it is gone", AT)
ASKED = Change("wal", "polling", "asked for", "in order", AT)
WAITING = Parked(1, AT, "returned: no queue")


def test_the_last_error_is_the_worst_of_what_is_wrong_now() -> None:
    def error(slot: Slot | None, local: LocalRelay | None, parked: Parked | None = WAITING) -> str:
        return str(last_error("s", slot, local, parked, at=AT))

    lost, idle = replace(HELD, wal_status="lost"), replace(SLOT, inactive_since=AT)
    before = AT - timedelta(seconds=31)
    silent, never_reported = replace(HELD, holder_reported_at=before), replace(HELD, holder_since=before)
    standby, lagging = replace(LOCAL, mode="standby"), replace(LOCAL, lag_seconds=61.0, not_ready=("lag",))
    assert error(None, None) == "replication slot 's' does not exist"
    assert error(lost, LOCAL) == "replication slot 's' is lost: Postgres removed WAL that it needed"
    assert error(idle, None) == "no relay streams from replication slot 's' since 2026-01-01 00:00:00 UTC"
    assert "does not stream; not ready: source" in error(idle, replace(LOCAL, mode="none", not_ready=("source",)))
    assert "does not stream; not ready: source" in error(HELD, replace(LOCAL, mode="none", not_ready=("source",)))
    for local in (None, standby, replace(LOCAL, mode="none")):
        assert "'s' has had no status update for 31 s" in error(silent, local)
        assert "'s' has had no status update for 31 s" in error(never_reported, local)
        assert "'s' has had no status update" not in error(replace(never_reported, holder_reported_at=AT), local)
    assert "blocked" in error(HELD, replace(LOCAL, blocked=True, not_ready=("broker",)))
    assert (
        error(HELD, replace(lagging, held=True, not_ready=("broker", "lag"))) == "the relay is not ready: broker, lag"
    )
    assert "does not accept a message" in error(HELD, replace(lagging, held=True))
    assert "the stream has sent nothing for 61 s" in error(HELD, replace(lagging, in_flight=0))
    assert error(HELD, lagging) == "the relay is not ready: lag"
    for local in (None, standby, LOCAL):
        assert error(HELD, local) == "parked at 2026-01-01 00:00:00 UTC: returned: no queue"
        assert error(HELD, local, Parked(0, None, None)) == "None"


def test_the_clock_of_a_relay_that_streams_on_this_machine_does_not_matter() -> None:
    ahead = replace(HELD, holder_reported_at=AT - timedelta(hours=1))
    assert last_error("s", ahead, LOCAL, None, at=AT) is None


def test_throughput_is_the_rate_between_two_statuses() -> None:
    moved: Slot = replace(SLOT, confirmed_flush_lsn="0/30")
    after = replace(STATUS, at=AT + timedelta(seconds=4), slot=moved, local=replace(LOCAL, confirmed=18.0))
    assert throughput(STATUS, after).events_per_second == 2.0
    assert throughput(STATUS, after).wal_bytes_per_second == 8.0
    restarted = replace(after, local=replace(LOCAL, confirmed=1.0))
    assert throughput(STATUS, restarted).events_per_second is None
    assert throughput(STATUS, replace(after, slot=None, local=None)).wal_bytes_per_second is None


def test_what_is_unknown_is_null_in_the_document() -> None:
    found = document(replace(STATUS, slot=None, local=None), None, None)
    unknown = ("active", "lag_bytes", "lag_seconds", "backlog", "retained_bytes", "wal_status", "in_flight", "parked")
    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert found["lsn"] == {"current": "0/20", "confirmed_flush": None, "restart": None, "checkpoint": None}


def test_the_answer_is_bad_when_no_events_pass() -> None:
    def reason(slot: Slot | None, local: LocalRelay | None) -> str | None:
        return bad(replace(STATUS, wrong=wrong("s", slot, local, at=AT)), 60, unknown=False)

    lagging = replace(LOCAL, not_ready=("lag",))
    for slot, local in ((None, None), (SLOT, None), (SLOT, LOCAL), (replace(HELD, wal_status="lost"), LOCAL)):
        assert reason(slot, local)
    for local in (replace(LOCAL, blocked=True), replace(LOCAL, held=True), replace(LOCAL, not_ready=("broker",))):
        assert reason(HELD, local)
    for here in (None, LOCAL, lagging, replace(LOCAL, mode="standby"), replace(LOCAL, mode="none")):
        assert reason(HELD, here) is None


def test_the_answer_is_bad_when_a_partition_of_the_outbox_has_no_active_relay() -> None:
    here = Member("relay", 1, 2, vacant=False, updated_at=AT, active=True)
    other = Member("other", 2, 2, vacant=False, updated_at=AT, active=True)
    assert bad(replace(STATUS, members=[here, other]), 60, unknown=False) is None
    away = replace(STATUS, members=[here, other._replace(active=False)])
    assert bad(away, 60, unknown=False) == (
        "events of the outbox are published by nobody: relay 'other' (2/2) is not active"
    )
    assert [(each["partition"], each["relay"], each["active"]) for each in document(away, None, None)["members"]] == [
        ("1/2", "relay", True), ("2/2", "other", False),
    ]  # fmt: skip


def test_the_answer_is_bad_when_the_lag_is_over_the_limit_or_unknown_to_who_asks_for_it() -> None:
    elsewhere = replace(STATUS, local=None, backlog=Backlog(0.5, 1, 1, complete=True))
    for status in (STATUS, elsewhere):
        assert bad(status, 0.5, unknown=True) is None
        assert bad(status, 0.4, unknown=False) == "the lag is 0.5 s, more than 0.4 s"
    unknown = replace(STATUS, local=None)
    assert bad(unknown, 60, unknown=False) is None
    assert str(bad(unknown, 60, unknown=True)).startswith("the lag is unknown")


def test_the_document_says_whether_the_answer_is_good_and_why_not() -> None:
    assert document(STATUS, None, None)["ok"] is True
    shown = document(STATUS, None, "it is bad")
    assert (shown["ok"], shown["last_error"]) == (False, "it is bad")


def test_why_is_the_reason_of_what_is_read_now_and_not_of_an_earlier_request() -> None:
    def why(checkpoint: Checkpoint, change: Change | None, source: str = "auto") -> str | None:
        return replace(STATUS, checkpoint=checkpoint, change=change, source=source).why

    reads = replace(POLLS, mode="wal")
    assert why(POLLS, LOST) == "slot lost: it is gone"
    assert why(POLLS, ASKED, "polling") == "RELAY_SOURCE is polling"
    assert why(replace(POLLS, wanted="polling"), ASKED) == "asked for by `relay switch`"
    asked_back = replace(POLLS, wanted="wal")
    for each in (asked_back, replace(asked_back, making_slot=True)):
        assert why(each, ASKED) == "polling was asked for before; `relay switch` has asked for wal since"
        assert why(each, LOST) == "slot lost: it is gone"
    assert why(POLLS, ASKED) == "polling was asked for before; `relay switch` has asked for auto since"
    assert why(reads, replace(LOST, to_mode="wal", reason="works again")) == "works again: it is gone"
    assert why(reads, None) == "works"


def test_what_the_history_has_from_before_is_no_reason_of_a_first_start() -> None:
    for change in (None, LOST, replace(LOST, to_mode="wal")):
        first = replace(STATUS, checkpoint=replace(POLLS, lsn=None), change=change)
        assert (first.why, first.since) == ("the first start: what the table has is polled first", None)
    gone = replace(STATUS, checkpoint=POLLS, change=replace(LOST, to_mode="wal"))
    assert (gone.why, gone.since) == ("relay.handover does not say it; see the relay's log", None)


def test_a_slot_that_is_missing_or_lost_is_not_bad_while_the_table_is_polled_and_the_help_says_so() -> None:
    for slot in (None, replace(SLOT, wal_status="lost")):
        assert wrong("s", slot, None, at=AT, polling=True, active=True) is None
        assert wrong("s", slot, None, at=AT) is not None
        assert wrong("s", slot, None, at=AT, polling=True, active=False) == "this relay is not active"
    assert "unless the table is polled, the slot is missing or lost" in " ".join(str(command.status.__doc__).split())
