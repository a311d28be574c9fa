"""Queues by hash, and super streams: what is declared, and what makes an event come into one of them."""

import pytest

from outboxkit.errors import ConfigurationProblem
from relay.core.hashing.spread import Spread
from relay.operating.topology import option
from relay.operating.topology.topology import Topology
from relay.settings import RelaySettings


def read(text: str, *, source: str = "outbox", keys: tuple[str, ...] = ("#",)) -> Topology:
    return Topology.read(text, source=source, keys=keys)


def test_queues_by_hash_are_as_consumers_declare_theirs_with_a_single_active_consumer() -> None:
    topology = read("hash:2")
    assert (str(topology), topology.exchange, topology.exchange_arguments) == ("hash:2", "outbox.hash-2", {})
    assert [(queue.name, queue.key, queue.of_binding) for queue in topology.queues] == [
        ("outbox.hash-2-0", "0", {"x-match": "all", "hash2": 0}),
        ("outbox.hash-2-1", "1", {"x-match": "all", "hash2": 1}),
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
    assert topology.exchange_arguments == {"x-super-stream": True}
    assert [queue.of_binding for queue in topology.queues] == [
        {"x-match": "all", f"hash{number}": n, "x-stream-partition-order": n} for n in range(number)
    ]
    assert dict(topology.declared) == {f"outbox.stream-{number}-{n}": {"x-queue-type": "stream"} for n in range(number)}


def test_anything_else_is_refused() -> None:
    with pytest.raises(ConfigurationProblem, match="--topology 'hash' is wrong: it does not say how many") as refused:
        read("hash")
    assert refused.value.remedy.startswith("write hash:8 ")


def test_a_name_that_leaves_no_room_for_dead_letters_is_refused() -> None:
    fitting = 250 - len(".hash-8-0")
    assert len(read("hash:8", source="x" * fitting).queues[0].name) == 250
    with pytest.raises(ConfigurationProblem, match="set RELAY_EXCHANGE to a shorter name"):
        read("hash:8", source="x" * (fitting + 1))


def settings(**changes: object) -> RelaySettings:
    return RelaySettings.model_validate(
        {"database_url": "postgresql://u:p@h/d", "amqp_url": "amqp://u:p@localhost/v", **changes}
    )


def test_the_option_counts_and_without_it_the_setting() -> None:
    assert option.read(None, settings()) is None
    assert option.read("hash:8", settings()) == read("hash:8")
    own = settings(topology="stream:4", topology_keys="order.*, invoice.#")
    assert option.read(None, own) == read("stream:4", keys=("order.*", "invoice.#"))
    assert option.read("hash:8", own) == read("hash:8", keys=("order.*", "invoice.#"))


@pytest.mark.parametrize(
    ("spread", "fed"),
    [(None, False), (Spread("hash", 8), True), (Spread("stream", 8), True), (Spread("hash", 16), False)],
)
def test_events_come_in_that_were_published_for_this_number_of_queues(spread: Spread | None, *, fed: bool) -> None:
    assert read("hash:8").fed_by(spread) == fed
