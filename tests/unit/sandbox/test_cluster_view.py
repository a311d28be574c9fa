"""What is read from `rabbitmqctl cluster_status`: whether the cluster is whole, and which node works alone."""

import pytest

from sandbox.servers.cluster import View, apart


def seen(*running: str, partitions: dict[str, list[str]] | None = None) -> View:
    return View.read({"cluster_name": "x", "running_nodes": list(running), "partitions": partitions or {}})


def test_a_cluster_is_whole_if_all_nodes_run_and_no_two_have_lost_each_other() -> None:
    assert seen("a", "b", "c").whole
    assert not seen("a", "b").whole
    assert not seen("a", "b", "c", partitions={"a": ["c"]}).whole


@pytest.mark.parametrize(
    "partitions",
    [{"c": ["a", "b"]}, {}],
    ids=["the node itself has found the partition", "no node has found it"],
)
def test_a_node_is_apart_if_it_works_alone_and_the_others_without_it(partitions: dict[str, list[str]]) -> None:
    views = {"a": seen("a", "b"), "b": seen("a", "b"), "c": seen("c", partitions=partitions)}
    assert apart(views) == "c"


@pytest.mark.parametrize(
    "views",
    [
        {"a": seen("a", "b", "c"), "b": seen("a", "b", "c"), "c": seen("a", "b", "c")},
        {"a": seen("a", "b"), "b": seen("a", "b", "c"), "c": seen("b", "c")},  # a and c have lost each other
        {"a": seen("a", "b", "c"), "b": seen("a", "b"), "c": seen("c")},  # a has not noticed yet
        {"a": seen("a"), "b": seen("b"), "c": seen("c")},
    ],
)
def test_no_node_is_apart_where_it_is_not_certain_which(views: dict[str, View]) -> None:
    assert apart(views) is None
