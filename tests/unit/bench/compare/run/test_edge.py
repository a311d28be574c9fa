"""What became of events while something was broken, by the ids that arrived and the message ids that they had."""

from bench.compare.results import Edge
from bench.compare.run import judging
from bench.compare.run.judging import NO_ID, Arrival
from bench.compare.run.reading.arrived import parse


def come(*ids: str | tuple[str, str]) -> list[Arrival]:
    """Return arrivals of events: each an id, or an id and the message id that it came under."""
    pairs = [(each, "") if isinstance(each, str) else each for each in ids]
    return [Arrival(event_id, 1.0, 1.0, message_id) for event_id, message_id in pairs]


def test_what_arrives_once_is_neither_lost_nor_doubled() -> None:
    assert judging.edge(["a", "b"], come("a", "b"), [], restarts=2) == Edge(2, 0, 0, 0, 0, 0, 2)


def test_what_is_kept_aside_is_not_lost() -> None:
    found = judging.edge(["a", "b", "c"], come("a"), ["b", "strange"], restarts=0)
    assert (found.lost, found.kept_aside, found.redriven) == (1, 1, 0)


def test_what_was_redriven_counts_only_when_it_arrives() -> None:
    found = judging.edge(["a", "b"], come("a"), ["a", "b"], redriven=["a", "b"], restarts=0)
    assert (found.lost, found.kept_aside, found.redriven) == (0, 2, 1)


def test_an_event_that_comes_again_under_its_message_id_is_known_by_it() -> None:
    found = judging.edge(["a", "b"], come("a", "a", ("b", "m1"), ("b", "m1"), "strange", "strange"), [], restarts=0)
    assert (found.duplicated, found.duplicated_otherwise) == (2, 0)


def test_an_event_that_comes_again_without_a_message_id_or_under_a_new_one_is_not() -> None:
    arrivals = come(("a", NO_ID), ("a", NO_ID), ("b", "m1"), ("b", "m2"), ("b", "m1"))
    found = judging.edge(["a", "b"], arrivals, [], restarts=0)
    assert (found.duplicated, found.duplicated_otherwise) == (1, 2)


def test_the_fourth_word_of_a_line_is_the_message_id() -> None:
    assert parse("a 1 2 m1\nb 1 2 -\nc 1 2\n") == [
        Arrival("a", 1, 2, "m1"), Arrival("b", 1, 2, NO_ID), Arrival("c", 1, 2),
    ]  # fmt: skip
