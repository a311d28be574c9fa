"""What relays, Postgres and RabbitMQ send, for the tests of the oracle that reads it.

AMQP is written by pika, so that the oracle is measured against another's reading of the protocol.
"""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from struct import pack

from pika import BasicProperties
from pika.frame import Body, Header, Heartbeat, Method, ProtocolHeader
from pika.spec import Basic, Channel, Confirm

from tests.support.wire.postgres import format_lsn

SSL_REQUEST = pack(">II", 8, 80877103)


def startup(**parameters: str) -> bytes:
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
    return pack(">II", 8 + len(body), 3 << 16) + body


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + pack(">I", 4 + len(body)) + body


REPLICATION = startup(user="relay", replication="database", database="app")
ORDINARY = startup(user="relay", database="replication", application_name="database")
LOGIN = message(b"R", pack(">I", 0)) + message(b"Z", b"I")


def start(position: int) -> bytes:
    return message(b"Q", f'START_REPLICATION SLOT "s" LOGICAL {format_lsn(position)} ("x" \'y\')\0'.encode())


def sent(payload: bytes, position: int = 0) -> bytes:
    return message(b"d", pack(">cQQq", b"w", position, position, 0) + payload)


def keepalive(position: int) -> bytes:
    return message(b"d", pack(">cQq?", b"k", position, 0, False))


def status(flushed: int) -> bytes:
    return message(b"d", pack(">cQQQq?", b"r", flushed + 50, flushed, flushed, 0, False))


def transaction(commit: int, end: int, ids: Iterable[str]) -> list[bytes]:
    """Return the payloads of one transaction, as wal2json writes them."""
    table = {"action": "I", "schema": "outbox", "table": "event"}
    rows = [{**table, "columns": [{"name": "seq", "value": 1}, {"name": "id", "value": each}]} for each in ids]
    other = {"action": "I", "schema": "shop", "table": "thing", "columns": [{"name": "id", "value": "none of ours"}]}
    commits = {"action": "C", "lsn": format_lsn(commit), "nextlsn": format_lsn(end)}
    return [json.dumps(each, separators=(",", ":")).encode() for each in ({"action": "B"}, *rows, other, commits)]


def opened(channel: int = 1) -> bytes:
    return Method(channel, Channel.Open()).marshal() + Method(channel, Confirm.Select()).marshal()


PROTOCOL_HEADER = ProtocolHeader().marshal()
HEARTBEAT = Heartbeat().marshal()


def carried(
    method: Basic.Publish | Basic.Return | Basic.Deliver, properties: BasicProperties, body: bytes, channel: int
) -> bytes:
    head = Method(channel, method).marshal() + Header(channel, len(body), properties).marshal()
    return head + (Body(channel, body).marshal() if body else b"")


def publish(identity: str, *, body: bytes = b"{}", channel: int = 1) -> bytes:
    properties = BasicProperties(
        message_id=identity, headers={"seq": 1}, delivery_mode=2, content_type="application/json"
    )
    return carried(Basic.Publish(exchange="outbox", routing_key="a.b"), properties, body, channel)


def returned(identity: str, *, channel: int = 1) -> bytes:
    properties = BasicProperties(message_id=identity, headers={"seq": 1})
    return carried(Basic.Return(312, "NO_ROUTE", "outbox", "a.b"), properties, b"{}", channel)


def ack(tag: int, *, multiple: bool = False, channel: int = 1) -> bytes:
    return Method(channel, Basic.Ack(tag, multiple)).marshal()


def nack(tag: int, *, multiple: bool = False, channel: int = 1) -> bytes:
    return Method(channel, Basic.Nack(tag, multiple, False)).marshal()


def closed(channel: int = 1) -> bytes:
    return Method(channel, Channel.Close(404, "NOT_FOUND", 60, 40)).marshal()


def in_pieces(stream: bytes, cuts: Iterable[int], feed: Callable[[bytes], list[object]]) -> list[object]:
    """Return what `feed` yields for `stream` when it is cut at `cuts`."""
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [fact for begin, end in pairwise(places) for fact in feed(stream[begin:end])]
