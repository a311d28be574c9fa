"""The queue of an aggregate: named in a header, by the hash that partitions have, for one number of queues."""

import pytest
from msgspec import structs

from outboxkit.amqp.format import ALPHANUMERIC, NAMES
from relay.core.event import Defective, Headers
from relay.core.hashing.spread import MOST, Spread
from relay.core.messages.cloudevents import Prefix
from relay.core.messages.replayed import ReplayRouter
from relay.core.messages.routing import Router
from relay.core.replay import Destination
from tests.support.examples import EVENT
from tests.support.partitions import KNOWN

TEMPLATE = "{aggregate_type}.{event_type}"
EIGHT = Spread("hash", 8)
LIVE = Router("outbox", TEMPLATE, spread=EIGHT)
NUMBER = EIGHT.queue_of(EVENT.aggregate_type, EVENT.aggregate_id)


@pytest.mark.parametrize(("aggregate_type", "aggregate_id", "queues", "partition"), KNOWN)
def test_the_hash_stays_what_it_is(aggregate_type: str, aggregate_id: str, queues: int, partition: int) -> None:
    """Another one would move aggregates to other queues, past what waits in their old ones."""
    assert Spread("hash", queues).queue_of(aggregate_type, aggregate_id) == partition - 1


@pytest.mark.parametrize("text", ["hash:2", "hash:8", f"hash:{MOST}", "stream:3"])
def test_it_survives_its_own_text(text: str) -> None:
    assert str(Spread.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "hash", "hash:0", "hash:1", "hash:08", "hash:257", "hash:-1", "stream:", "ring:3", "hash:8 ", "hash:8\n"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="topology"):
        Spread.parse(text)


def test_a_super_stream_has_three_partitions_unless_it_is_told_otherwise() -> None:
    assert Spread.parse("stream") == Spread("stream", 3)


def test_a_message_differs_from_one_without_it_in_one_header() -> None:
    plain = Router("outbox", TEMPLATE).route(EVENT)
    assert LIVE.route(EVENT).headers == {**plain.headers, "hash8": NUMBER}


def test_the_name_has_the_number_of_queues_and_letters_and_digits_only() -> None:
    names = {Spread("hash", queues).header for queues in range(2, MOST + 1)}
    assert len(names) == MOST - 1
    assert all(name.isascii() and name.isalnum() and name.islower() for name in names)
    assert names.isdisjoint({*NAMES, *ALPHANUMERIC})
    assert Spread("stream", 8).header == EIGHT.header, "one relay serves both"


@pytest.mark.parametrize("name", ["hash8", "Hash8", "ce-hash8"])
@pytest.mark.parametrize("prefix", [None, "cloudEvents_", "ce-"])
def test_a_row_cannot_choose_the_queue(prefix: Prefix | None, name: str) -> None:
    event = structs.replace(EVENT, headers=Headers("", {name: 99}))
    source = None if prefix is None else "/outbox/relay"
    router = Router("outbox", TEMPLATE, cloudevents_source=source, cloudevents_prefix=prefix or "ce-", spread=EIGHT)
    found = router.route(event).headers
    assert found["hash8"] == NUMBER
    assert (99 in found.values()) == (name != "hash8" and prefix != "ce-")


def test_a_replay_has_it_too() -> None:
    replayed = ReplayRouter(LIVE, 12, Destination()).route(EVENT)
    assert replayed.headers == {**LIVE.route(EVENT).headers, "x-replay": "12"}


def test_headers_that_cannot_be_read_keep_their_reason() -> None:
    event = structs.replace(EVENT, headers=Defective("{", "its headers cannot be read"))
    assert LIVE.route(event).headers is event.headers


def test_half_a_surrogate_pair_is_left_to_the_encoder() -> None:
    """It parks the event; an error here would end the relay."""
    assert LIVE.route(structs.replace(EVENT, aggregate_id="\ud800")).headers["hash8"] in range(8)
