"""The small parts of a comparison: what a consumer notes, what sessions write, what is spent."""

from pathlib import Path

import pytest

from bench.compare import wording
from bench.compare.load.writing import parts
from bench.compare.planning.workload import Load, Workload, schedule
from bench.compare.results import Figure
from bench.compare.run.judging import Arrival
from bench.compare.run.reading import spending
from bench.compare.run.reading.arrived import Arrived, parse
from bench.compare.run.reading.spending import Spent


def test_lines_that_are_no_arrivals_are_passed_over() -> None:
    assert parse("\na 1.5 2\nb 3\n") == [Arrival("a", 1.5, 2.0)]


def test_arrivals_are_read_once_each_and_a_line_that_is_being_written_later(tmp_path: Path) -> None:
    path = tmp_path / "arrivals"
    arrived = Arrived(path)
    assert not arrived.begun()
    path.write_text("\na 1 1\nb 2 2\n")
    assert arrived.begun()
    arrived.forget()
    with path.open("a") as file:
        file.write("c 3 3\nd 4")
    assert arrived.until({"c"}, patience=0, at_most=1) == ([Arrival("c", 3, 3)], False)
    with path.open("a") as file:
        file.write("1 5\n")
    assert arrived.until({"d"}, patience=10, at_most=10) == ([Arrival("c", 3, 3), Arrival("d", 41, 5)], False)


def test_what_does_not_arrive_is_given_up(tmp_path: Path) -> None:
    assert Arrived(tmp_path / "none").until({"a"}, patience=0.01, at_most=10) == ([], False)


def test_what_is_late_while_others_arrive_is_not_given_up_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "arrivals"
    path.write_text("b 2 2\n")
    assert Arrived(path).until({"a", "b"}, patience=10, at_most=0) == ([Arrival("b", 2, 2)], True)
    assert Arrived(path).until({"b"}, patience=10, at_most=0).unfinished is False


def test_every_transaction_is_in_the_part_of_one_session() -> None:
    transactions = schedule(Load("x", rate=50, rows={1: 1, 30: 1}, open_share=0.5), 5, "1")
    dealt = parts(transactions, 4)
    assert len(dealt) <= 4
    for part in dealt:
        assert len({len(column) for column in part.values()}) == 1
        for number, due, rows, span in zip(
            part["numbers"], part["dues"], part["row_counts"], part["spans"], strict=True
        ):
            assert (due, rows) == (transactions[number].due, transactions[number].rows)
            assert span == min(rows, 10)
    assert sum(len(part["numbers"]) for part in dealt) == len(transactions)


def spent(at: float, value: float, database: float | None = 1.0) -> Spent:
    whole = int(value)
    return Spent(at, whole, whole, whole, whole, whole, database, value, whole)


def test_what_is_spent_is_a_difference_for_each_event() -> None:
    found = spending.for_each(spent(15, 300, 9.0).since(spent(10, 100, 5.0)), 100, relays=True)
    assert found["wal_bytes"] == Figure(2, "B")
    assert found["relay_cpu"] == Figure(2, "s")
    assert found["database_cpu"] == Figure(0.04, "s")


def test_what_is_not_known_or_not_there_has_no_figure() -> None:
    found = spending.for_each(spent(15, 300, None).since(spent(10, 100, 5.0)), 100, relays=False)
    assert not {"database_cpu", "relay_cpu"} & found.keys()


def test_idle_figures_are_for_a_minute() -> None:
    found = spending.idle(spent(20, 40, 3.0).since(spent(10, 10, 1.0)))
    assert found["idle_queries"].value == 180
    assert found["idle_relay_cpu"].value == 180
    assert found["idle_database_cpu"].value == pytest.approx(12)


def test_a_workload_is_told_in_words() -> None:
    load = Load("mixed", rate=300, arrivals="bursty", rows={1: 3, 100: 1}, idle_every=5, idle_seconds=2)
    (said,) = wording.told(Workload((load,))).values()
    assert said.startswith("300 events/s; bursty; rows: 1 (0.75), 100 (0.25); mean 25.75; payload: 200 bytes")
    assert said.endswith("20 transactions in a burst; 2 s of nothing after each 5 s")
