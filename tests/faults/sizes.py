"""Events that cannot be published: too large, taken by no queue, or with headers that AMQP does not have.

Each is parked with its reason while the stream continues, and is published when its cause is fixed and it is redriven.
"""

import json
from functools import partial
from typing import LiteralString
from uuid import UUID

from sandbox.machine.waiting import until
from tests.faults.judging import grown
from tests.faults.run import MORE_RESIDENT, REPEATED, Fault, Run
from tests.support.limits import largest_message
from tests.support.roles import alter

_MB = 1_000_000
_LARGE_EVENTS = 3
_UNLIMITED = 'ALTER TABLE outbox.event DROP CONSTRAINT "payload must be at most 1 MiB (1048576 bytes) as JSON text"'
_LARGEST = 128 << 20
_LARGE = """
SELECT outbox.publish('large', number::text, 1, 'made', jsonb_build_object('x', repeat('y', %s)))
FROM generate_series(1, %s) AS number
"""
_STRAY = "SELECT outbox.publish('stray', '1', 1, 'made', '{}', exchange => %s)"
_STRANGE = "SELECT outbox.publish('strange', %s, 1, 'made', '{}', %s)"
_CORRECT = "UPDATE relay.parked SET headers = '{\"number\": 1}' WHERE reason = 'unencodable' RETURNING id"
_PARKED = "SELECT reason FROM relay.parked WHERE id = %s AND times = %s AND redriven_at IS NULL"
# Valid in JSON and not in AMQP: integers beyond 64 bits, names beyond 255 bytes.
_HEADERS = ({"number": 2**64}, {"n" * 256: 1}, {"deep": [{"number": -(2**70)}]})


def too_large(size: int, run: Run) -> None:
    """Write events of `size` MB in one transaction; when they are parked, raise the relay's limit and redrive them."""
    relay = run.streaming_relay()
    alter(run.stage.isolated.database_url, _UNLIMITED, run.stage.isolated.name)
    events = _commit(run, _LARGE, size * _MB, _LARGE_EVENTS)
    _are_parked(run, events, "too_large")
    run.flows()
    found = grown(run, relay, by=_growth(size))
    assert not found, found
    assert relay.terminate() == 0, relay.tail()
    run.borrow(largest_message(run.box.rabbitmq, _LARGEST))
    run.streaming_relay(RELAY_MAX_MESSAGE_BYTES=str(_LARGEST))
    run.healed()
    _redrive(run, events)


def refused(run: Run) -> None:
    """Write an event within the relay's limit and above RabbitMQ's, and later raise RabbitMQ's limit."""
    with largest_message(run.box.rabbitmq, _MB // 2):
        run.streaming_relay()
        events = _commit(run, _LARGE, _MB, 1)
        _are_parked(run, events, "refused")
        run.flows()
    run.broker.cut()  # an open channel keeps its limit
    run.healed()
    _redrive(run, events)


def _growth(size: int) -> int:
    """Return how many more bytes may be resident for events of `size` MB: the window, and all copies of one event."""
    return MORE_RESIDENT + 10 * size * _MB


def unroutable(run: Run) -> None:
    """Write an event to an exchange that has no queue, and later bind one."""
    exchange = run.stage.isolated.exchange("elsewhere")
    with run.tap.channel() as channel:
        channel.exchange_declare(exchange, "topic", durable=True)
    run.streaming_relay()
    events = _commit(run, _STRAY, exchange)
    _are_parked(run, events, "returned")
    run.flows()
    _redrive(run, events)
    _are_parked(run, events, "returned", times=2)
    with run.tap.channel() as channel:
        channel.queue_bind(run.tap.queue, exchange, "#")
    run.healed()
    _redrive(run, events)


def with_broken_headers(run: Run) -> None:
    """Write events whose headers AMQP cannot carry, and later correct them where they are parked."""
    run.streaming_relay()
    events = []
    for number, headers in enumerate(_HEADERS):
        events += _commit(run, _STRANGE, str(number), json.dumps(headers))
    _are_parked(run, events, "unencodable")
    run.flows()
    _redrive(run, events)
    _are_parked(run, events, "unencodable", times=2)
    assert len(run.stage.query(_CORRECT)) == len(events)
    run.healed()
    _redrive(run, events)


def _commit(run: Run, statement: LiteralString, *parameters: object) -> list[UUID]:
    """Commit the events that `statement` makes, and return their ids."""
    events = [row[0] for row in run.stage.query(statement, *parameters)]
    run.events += events
    return events


def _are_parked(run: Run, events: list[UUID], reason: str, *, times: int = 1) -> None:
    """Wait until each was parked `times` times; fails if one was for another reason."""
    for event in events:
        rows = until(partial(run.stage.query, _PARKED, str(event), times), what=f"{event} is parked", seconds=20)
        assert rows == [(reason,)], rows


def _redrive(run: Run, events: list[UUID]) -> None:
    done = run.stage.run("relay", "parked", "redrive", "--all", "--json")
    assert sorted(json.loads(done.stdout)["redriven"]) == sorted(map(str, events)), done.stdout


FAULTS = (
    Fault("payload of 17 MB", partial(too_large, 17), duplicates=0, growth=_growth(17)),
    Fault("payload of 50 MB", partial(too_large, 50), duplicates=0, growth=_growth(50)),
    Fault("payload that RabbitMQ refuses", refused, duplicates=3 * REPEATED),
    Fault("unroutable event", unroutable, duplicates=0),
    Fault("event with broken headers", with_broken_headers, duplicates=0),
)
