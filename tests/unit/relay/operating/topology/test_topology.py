"""Queues by hash, and super streams: what `--topology` means, and the names that keep RabbitMQ's ring as it is."""

import pytest

from outboxkit.errors import ConfigurationProblem
from relay.operating.topology import option
from relay.operating.topology.topology import Topology
from relay.settings import RelaySettings


def read(text: str, *, source: str = "outbox", keys: tuple[str, ...] = ("#",)) -> Topology:
    return Topology.read(text, source=source, header="aggregate_id", keys=keys)


def test_queues_by_hash_are_as_consumers_declare_theirs_with_a_single_active_consumer() -> None:
    topology = read("hash:2")
    assert (str(topology), topology.exchange) == ("hash:2", "outbox.hash-2")
    assert topology.exchange_arguments == {"hash-header": "aggregate_id"}
    assert [(queue.name, queue.of_binding) for queue in topology.queues] == [
        ("outbox.hash-2-0", {}),
        ("outbox.hash-2-1", {}),
    ]
    assert topology.queues[0].arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 20,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "outbox.hash-2-0.dead",
        "x-single-active-consumer": True,
    }
    assert [name for name, _ in topology.declared] == [
        "outbox.hash-2-0", "outbox.hash-2-0.dead", "outbox.hash-2-1", "outbox.hash-2-1.dead",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "number"), [("stream", 3), ("stream:5", 5)])
def test_a_super_stream_has_partitions_in_their_order_and_no_dead_letters(text: str, number: int) -> None:
    topology = read(text)
    assert topology.exchange_arguments == {"hash-header": "aggregate_id", "x-super-stream": True}
    assert [queue.of_binding for queue in topology.queues] == [{"x-stream-partition-order": n} for n in range(number)]
    assert dict(topology.declared) == {f"outbox.stream-{number}-{n}": {"x-queue-type": "stream"} for n in range(number)}


@pytest.mark.parametrize("number", [1, 2, 9, 10, 11, 100, 101, 256])
@pytest.mark.parametrize("kind", ["hash", "stream"])
def test_the_names_stand_in_the_order_in_which_the_queues_are_bound(kind: str, number: int) -> None:
    """RabbitMQ makes its ring anew from them when it starts, in the order of their bytes."""
    names = [queue.name.encode() for queue in read(f"{kind}:{number}").queues]
    assert names == sorted(names)
    assert len(set(names)) == number


@pytest.mark.parametrize(
    "text", ["", "hash", "hash:0", "hash:08", "hash:257", "hash:-1", "stream:", "ring:3", "hash:8 "]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="is not a topology - write hash:8"):
        read(text)


def test_a_name_that_leaves_no_room_for_dead_letters_is_refused() -> None:
    fitting = 250 - len(".hash-8-0")
    assert len(read("hash:8", source="x" * fitting).queues[0].name) == 250
    with pytest.raises(ConfigurationProblem, match="set RELAY_EXCHANGE to a shorter name"):
        read("hash:8", source="x" * (fitting + 1))


def settings(**changes: object) -> RelaySettings:
    return RelaySettings.model_validate(
        {"database_url": "postgresql://u:p@h/d", "amqp_url": "amqp://u:p@localhost/v", **changes}
    )


@pytest.mark.parametrize(
    ("changes", "header", "exchange"),
    [
        ({}, "aggregate_id", "outbox.hash-8"),
        ({"format": "cloudevents"}, "aggregate_id", "outbox.hash-8"),
        ({"format": "cloudevents", "cloudevents_prefix": "ce-"}, "aggregateid", "outbox.hash-8-aggregateid"),
    ],
)
def test_the_header_that_is_hashed_is_the_one_that_the_relay_writes_and_another_one_is_another_topology(
    changes: dict[str, object], header: str, exchange: str
) -> None:
    topology = option.read("hash:8", settings(**changes))
    assert topology is not None
    assert (topology.header, topology.exchange) == (header, exchange)
    assert topology.keys == ("#",)


def test_keys_need_a_topology() -> None:
    assert option.read(None, settings()) is None
    assert option.read("hash:8", settings(), ["order.*", "invoice.*"]) == read("hash:8", keys=("order.*", "invoice.*"))
    with pytest.raises(ConfigurationProblem, match="give --topology too"):
        option.read(None, settings(), ["order.*"])
