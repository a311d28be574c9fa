"""From what is asked to a range, against a model of a server: transactions that overlap, and positions at times."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outboxkit.errors import ConfigurationProblem
from relay.core.position import Lsn, Snapshot
from relay.operating.replay.ranges.asked import AtLsn, AtTime
from relay.operating.replay.ranges.found import NotKept
from relay.operating.replay.ranges.rounding import (
    BEGINNING,
    AtTransaction,
    Begin,
    Noted,
    Past,
    Retired,
    table_range,
    whole,
)

_ZERO = datetime(2026, 11, 27, 14, tzinfo=UTC)


@dataclass
class Server:
    """Gives out transactions; each step of it takes a second and a byte of WAL."""

    step: int = 0
    next: int = 100
    running: list[int] = field(default_factory=list)
    committed: dict[int, int] = field(default_factory=dict)
    """Transactions, and the step at which each was committed."""
    noted: list[Noted] = field(default_factory=list)

    def run(self, choices: list[int]) -> None:
        for choice in choices:
            self.step += 1
            match choice % 4:
                case 0:
                    self.running.append(self.next)
                    self.next += 1
                case 1 if self.running:
                    self.committed[self.running.pop(choice // 4 % len(self.running))] = self.step
                case 2 if self.running:
                    self.running.pop(choice // 4 % len(self.running))
                case 3:
                    self.note(choice // 4)

    def note(self, choice: int) -> None:
        """Store a position, and maybe commit a transaction between its snapshot and its time."""
        seen = self.present().snapshot
        self.step += 1
        if self.running and choice % 2:
            self.committed[self.running.pop(choice % len(self.running))] = self.step
        behind = self.present()
        self.noted.append(Noted(behind.at, behind.lsn, seen, self.next, 1))
        self.next += 1  # the note's own transaction

    def present(self) -> Noted:
        xmin = min(self.running, default=self.next)
        snapshot = Snapshot(xmin, self.next, tuple(sorted(self.running)))
        return Noted(_ZERO + timedelta(seconds=self.step), Lsn(self.step), snapshot, self.next, 1)

    def past(self, retired: list[Retired] | None = None) -> Past:
        self.step += 1
        return Past(self.noted, retired or [], self.present())


def replayed(server: Server, past: Past, begin: Begin, end: Begin | None) -> set[int]:
    found = table_range(past, begin, end).range
    return {tx for tx in server.committed if not found.after.sees(tx) and found.until.sees(tx)}


choices = st.lists(st.integers(0, 1000), min_size=5, max_size=120)


@given(choices, st.data())
def test_a_range_has_all_that_was_committed_in_it_and_nothing_beyond_the_positions_around_it(
    steps: list[int], data: st.DataObject
) -> None:
    server = Server()
    server.run([3, 0, 1, *steps])
    past = server.past()
    first = data.draw(st.sampled_from(sorted(server.committed.values())))
    last = data.draw(st.sampled_from([at for at in server.committed.values() if at >= first]))
    by_time = AtTime(_ZERO + timedelta(seconds=first)), AtTime(_ZERO + timedelta(seconds=last))
    by_lsn = AtLsn(Lsn(first)), AtLsn(Lsn(last))
    for begin, end in (by_time, by_lsn):
        found = replayed(server, past, begin, end)
        assert found >= {tx for tx, at in server.committed.items() if first <= at <= last}
        around = [noted.lsn for noted in server.noted if noted.lsn <= first]
        assert all(server.committed[tx] >= around[-1] for tx in found)
        behind = [noted for noted in server.noted if noted.lsn >= last]
        assert all(tx < behind[0].next for tx in found if behind)


@given(choices, st.data())
def test_a_range_from_event_to_event_has_both_and_all_that_was_committed_between_them(
    steps: list[int], data: st.DataObject
) -> None:
    server = Server()
    server.run([0, 1, *steps])
    first = data.draw(st.sampled_from(sorted(server.committed)))
    last = data.draw(st.sampled_from([tx for tx, at in server.committed.items() if at >= server.committed[first]]))
    found = replayed(server, server.past(), AtTransaction("first", first), AtTransaction("last", last))
    assert found >= {
        tx for tx, at in server.committed.items() if server.committed[first] <= at <= server.committed[last]
    }


@given(choices, choices)
def test_what_commits_after_a_job_was_made_is_in_no_range_of_it(steps: list[int], more: list[int]) -> None:
    server = Server()
    server.run([3, *steps])
    past = server.past()
    begin = AtLsn(server.noted[0].lsn)
    for end in (None, *(AtLsn(noted.lsn) for noted in server.noted)):
        found = table_range(past, begin, end).range
        before = {tx for tx in server.committed if found.until.sees(tx)}
        later = Server(server.step, server.next, [*server.running], {**server.committed}, [*server.noted])
        later.run(more)
        assert {tx for tx in later.committed if found.until.sees(tx)} == before


def test_a_begin_before_all_positions_names_the_oldest_and_the_remedy_works() -> None:
    server = Server()
    server.run([0, 1, 0, 1, 3, 0, 1])
    past = server.past()
    with pytest.raises(NotKept) as refused:
        table_range(past, AtTime(_ZERO), None)
    assert refused.value.remedy.endswith(": --from-time '2026-11-27 14:00:06+00:00'")
    oldest = AtTime(datetime.fromisoformat("2026-11-27 14:00:06+00:00"))
    assert table_range(past, oldest, None).first == server.noted[0]


def test_a_range_is_whole_if_what_was_removed_was_committed_before_it() -> None:
    server = Server()
    server.run([0, 1, 3, 0, 1, 3, 0, 1, 3])
    early, middle, late = server.noted
    removed = server.past([Retired(late.at + timedelta(seconds=10), early.next)])
    assert [whole(removed, noted) for noted in (None, early, middle, late)] == [False, False, True, True]
    unknown = server.past([Retired(middle.at + timedelta(seconds=1), None)])
    assert [whole(unknown, noted) for noted in (None, early, middle, late)] == [False, False, False, True]
    with pytest.raises(NotKept, match=f"events of {early.lsn} are not in the table") as refused:
        table_range(removed, AtLsn(early.lsn), None)
    assert middle.at.isoformat(sep=" ") in refused.value.remedy


def test_a_transaction_that_was_running_at_the_begin_may_be_among_what_was_removed() -> None:
    server = Server()
    server.run([0, 0, 0, 5, 3])  # 100 and 102 run on
    (noted,) = server.noted
    assert noted.snapshot.sees(101)
    assert not whole(server.past([Retired(noted.at + timedelta(days=8), 101)]), noted)


def test_an_event_that_no_position_is_before_begins_with_the_table() -> None:
    server = Server()
    server.run([0, 1, 3])
    found = table_range(server.past(), AtTransaction("id", 100), None)
    assert (found.range.after, found.first) == (BEGINNING, None)


def test_an_end_before_the_begin_a_position_ahead_and_a_begin_in_the_future_are_usage_errors() -> None:
    server = Server()
    server.run([3, 0, 1, 3])
    past = server.past()
    wrong: list[tuple[Begin, Begin | None]] = [
        (AtLsn(Lsn(3)), AtLsn(Lsn(1))),
        (AtTime(_ZERO + timedelta(seconds=3)), AtTime(_ZERO + timedelta(seconds=1))),
        (AtLsn(Lsn(1000)), None),
        (AtLsn(Lsn(1)), AtLsn(Lsn(1000))),
        (AtTime(_ZERO + timedelta(days=1)), None),
    ]
    for begin, end in wrong:
        with pytest.raises(ConfigurationProblem):
            table_range(past, begin, end)
