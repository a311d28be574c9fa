"""The schedule of a load: what is drawn, how often, and when."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare.planning.workload import Load, Workload, committed, mean, read, schedule, sessions, together
from outboxkit.errors import ConfigurationProblem
from tests.unit.docs.markdown import ROOT

loads = st.builds(
    Load,
    name=st.text(max_size=5),
    rate=st.floats(10, 200),
    arrivals=st.sampled_from(["poisson", "bursty"]),
    burst=st.floats(1, 30),
    rows=st.dictionaries(st.integers(1, 100), st.floats(0.1, 1), min_size=1, max_size=3),
    payload_bytes=st.dictionaries(st.integers(1, 50_000), st.floats(0.1, 1), min_size=1, max_size=3),
    open_share=st.floats(0, 1),
    rollbacks=st.floats(0, 1),
    aggregates=st.integers(30, 1000),
    hot_share=st.floats(0, 1),
    idle_every=st.floats(0, 2),
    idle_seconds=st.floats(0, 2),
)


@given(loads, st.integers())
def test_a_schedule_is_in_order_within_its_time_and_the_same_for_the_same_seed(load: Load, seed: int) -> None:
    found = schedule(load, 2, str(seed))
    assert found == schedule(load, 2, str(seed))
    assert all(0 <= each.due < 2 for each in found)
    assert all(before.due <= after.due for before, after in pairwise(found))


@given(loads, st.integers())
def test_every_transaction_is_one_that_the_load_allows(load: Load, seed: int) -> None:
    for each in schedule(load, 2, str(seed)):
        assert each.rows in load.rows
        assert each.payload_bytes in load.payload_bytes
        assert 0 <= each.open <= 10 * load.open_seconds
        assert 0 <= each.aggregate <= load.aggregates - together(each.rows)


@given(loads, st.integers(), st.integers(1, 20))
def test_every_transaction_is_dealt_to_one_session_in_order(load: Load, seed: int, most: int) -> None:
    found = schedule(load, 2, str(seed))
    dealt = sessions(found, most)
    assert len(dealt) <= most
    assert sorted(number for each in dealt for number in each) == list(range(len(found)))
    assert all(each == sorted(each) for each in dealt)


@pytest.mark.parametrize("arrivals", ["poisson", "bursty"])
def test_the_rate_is_of_events_and_holds_in_the_long_run(arrivals: Literal["poisson", "bursty"]) -> None:
    load = Load("long", rate=300, arrivals=arrivals, rows={1: 0.9, 11: 0.1})
    found = schedule(load, 300, "7")
    assert sum(each.rows for each in found) / 300 == pytest.approx(300, rel=0.1)


def test_bursts_come_together_and_poisson_arrivals_do_not() -> None:
    bursty, even = schedule(Load("x", arrivals="bursty"), 100, "1"), schedule(Load("x"), 100, "1")
    assert max(Counter(each.due for each in bursty).values()) > 20
    assert max(Counter(each.due for each in even).values()) == 1


def test_nothing_is_due_in_an_idle_period() -> None:
    load = Load("pauses", rate=1000, idle_every=2, idle_seconds=1)
    found = [each.due for each in schedule(load, 9, "1")]
    assert not [due for due in found if due % 3 > 2]
    assert {int(due) for due in found} == {0, 1, 3, 4, 6, 7}


def test_shares_are_of_transactions() -> None:
    load = Load("shares", rate=500, open_share=0.3, rollbacks=0.2, hot=5, hot_share=0.4)
    found = schedule(load, 40, "1")
    assert sum(each.open > 0 for each in found) / len(found) == pytest.approx(0.3, abs=0.02)
    assert sum(each.rolls_back for each in found) / len(found) == pytest.approx(0.2, abs=0.02)
    assert sum(each.aggregate < 5 for each in found) / len(found) == pytest.approx(0.4, abs=0.02)
    assert committed(found) == sum(not each.rolls_back for each in found)


def test_a_session_that_is_still_in_a_transaction_gets_no_other_while_one_is_free() -> None:
    load = Load("open", rate=100, open_share=1, open_seconds=0.02)
    found = schedule(load, 5, "1")
    for dealt in sessions(found, 100):
        assert all(found[before].ends <= found[after].due for before, after in pairwise(dealt))


def test_another_seed_and_another_load_draw_others() -> None:
    assert schedule(Load("a"), 5, "1") != schedule(Load("a"), 5, "2")
    assert schedule(Load("a"), 5, "1") != schedule(Load("b"), 5, "1")


def test_a_workload_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[load]]\nname = "mine"\nrate = 50\nrows = {1 = 0.5, 100 = 0.5}\narrivals = "bursty"\n')
    assert read(path) == Workload((Load("mine", rate=50, rows={1: 0.5, 100: 0.5}, arrivals="bursty"),))
    assert mean({1: 0.5, 100: 0.5}) == 50.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "missing required field"),
        ("load = []", "length >= 1"),
        ("x = ", "is no workload"),
        ('[[load]]\nname = "a"\nrats = 3', "unknown field `rats`"),
        ('[[load]]\nname = "a"\nrate = 0', "> 0"),
        ('[[load]]\nname = "a"\nrows = {1001 = 1}', "rows of load 'a'"),
        ('[[load]]\nname = "a"\npayload_bytes = {600000 = 1}', "payload_bytes of load 'a'"),
        ('[[load]]\nname = "a"\nhot = 995', "995 of them hot"),
    ],
)
def test_a_file_that_is_no_workload_is_refused_with_its_reason(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationProblem, match=says):
        read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationProblem, match="No such file"):
        read(tmp_path / "none.toml")


def test_the_documented_workload_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    path = tmp_path / "documented.toml"
    path.write_text(text.partition("```toml\n")[2].partition("```")[0])
    (load,) = read(path).load
    assert {name for name in Load.__struct_fields__ if f"\n{name} = " in path.read_text()} == {*Load.__struct_fields__}
    assert (load.arrivals, load.rate, load.rows) == ("bursty", 300, {1: 0.98, 100: 0.02})
