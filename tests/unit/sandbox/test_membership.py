"""What is read from `rabbitmqctl cluster_status`: whether the cluster is whole, and which node is split off."""

import pytest

from sandbox.servers.cluster import Membership


def seen(running: list[str], partitions: dict[str, list[str]]) -> Membership:
    return Membership.read({"cluster_name": "x", "running_nodes": running, "partitions": partitions})


def test_three_nodes_that_have_not_lost_each_other_are_whole() -> None:
    found = seen(["a", "b", "c"], {})
    assert found.whole
    assert found.apart is None


@pytest.mark.parametrize(
    ("running", "partitions"),
    [
        (["a", "b"], {}),  # the third one is down, or has not come back yet
        (["a", "b"], {"a": ["c"]}),  # b has not met it yet: that it is c is not certain
        (["a", "b", "c"], {"a": ["c"], "c": ["a"]}),
        (["a"], {"a": ["b", "c"], "b": ["a", "c"]}),  # each has lost each
    ],
)
def test_a_cluster_that_is_not_whole_has_a_node_apart_only_if_it_is_certain_which(
    running: list[str], partitions: dict[str, list[str]]
) -> None:
    found = seen(running, partitions)
    assert not found.whole
    assert found.apart is None


@pytest.mark.parametrize(
    ("running", "partitions"),
    [
        (["a", "b"], {"a": ["c"], "b": ["c"]}),  # asked on one of the two
        (["c"], {"c": ["a", "b"]}),  # asked on the node itself
        (["a", "b", "c"], {"a": ["c"], "b": ["c"], "c": ["a", "b"]}),
    ],
)
def test_the_node_apart_is_the_one_that_is_split_from_all_others_whoever_is_asked(
    running: list[str], partitions: dict[str, list[str]]
) -> None:
    found = seen(running, partitions)
    assert not found.whole
    assert found.apart == "c"
