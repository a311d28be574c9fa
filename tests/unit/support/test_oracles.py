"""The oracles themselves: each finds what it is made for."""

from tests.support import oracles
from tests.support.oracles import Delivery, Effect


def delivery(message: str, version: int, aggregate: str = "1") -> Delivery:
    return Delivery(message, "order", aggregate, version)


def test_what_was_committed_and_not_found_is_lost() -> None:
    assert oracles.lost(["a", "b"], ["b", "b"]) == {"a"}
    assert not oracles.lost(["a"], ["a", "b"])


def test_what_was_found_and_not_committed_is_a_ghost() -> None:
    assert oracles.ghosts(["a"], ["a", "b"]) == {"b"}
    assert not oracles.ghosts(["a", "b"], ["a"])


def test_a_second_effect_of_a_task_is_found_whatever_its_version() -> None:
    assert oracles.applied_again([Effect("a", 2), Effect("b", 2), Effect("a", 4)]) == {"a": [2, 4]}
    assert oracles.applied_again([Effect("a", 2), Effect("a", 2)]) == {"a": [2, 2]}
    assert not oracles.applied_again([Effect("a", 2), Effect("b", 2)])


def test_a_first_delivery_after_a_later_version_is_out_of_order() -> None:
    late = delivery("a", 1)
    assert oracles.out_of_order([delivery("b", 2), late, delivery("c", 3)]) == [late]


def test_neither_a_duplicate_nor_another_aggregate_is_out_of_order() -> None:
    first, second = delivery("a", 1), delivery("b", 2)
    assert not oracles.out_of_order([first, second, first, second, delivery("c", 1, "2")])


def test_every_delivery_but_the_first_of_a_message_is_a_duplicate() -> None:
    assert oracles.duplicates([delivery("a", 1), delivery("b", 2), delivery("a", 1), delivery("a", 1)]) == 2
