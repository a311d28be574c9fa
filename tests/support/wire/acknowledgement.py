"""Oracle 4: no position is reported as flushed before everything below it is confirmed, as seen on the wire.

A confirm counts from just before the proxy forwards it to the relay, and a flush from just before the proxy forwards it
to Postgres. So no confirm counts that the relay could not have received. Independent of the relay's own code.
"""

import threading
from collections import defaultdict
from collections.abc import Collection
from heapq import heappop, heappush
from typing import NamedTuple

from tests.support.wire import amqp, postgres
from tests.support.wire.changes import Changes, Transaction
from tests.support.wire.confirms import Confirms
from tests.support.wire.postgres import Flushed, KeptAlive, Sent, Started, format_lsn


class _Early(NamedTuple):
    """A flush that came before a transaction's confirms."""

    flushed: int
    transaction: Transaction
    missing: list[str]


class _Broker:
    """One connection to the broker."""

    def __init__(self) -> None:
        self.session = amqp.Session()
        self.confirms = Confirms()


class _Stream:
    """One connection to Postgres."""

    def __init__(self) -> None:
        self.session = postgres.Session()
        self.changes = Changes()
        self.flushed = 0
        self.named: list[int] = []
        """A heap of the positions that may be reported: where the stream began, ends of transactions, keepalives."""


class Acknowledgement:
    """Reads the traffic of the proxies in front of Postgres (`postgres`) and the broker (`broker`); thread-safe.

    It follows one slot with wal2json, and any number of relays that stream from it one after the other.
    """

    def __init__(self) -> None:
        self.flushes = 0
        """How many times the reported position advanced."""
        self._lock = threading.Lock()
        self._streams: defaultdict[int, _Stream] = defaultdict(_Stream)
        self._brokers: defaultdict[int, _Broker] = defaultdict(_Broker)
        self._confirmed: set[str] = set()
        self._pending: list[Transaction] = []
        self._covered: set[int] = set()
        self._early: dict[int, _Early] = {}
        self._unnamed: list[int] = []

    @property
    def covered(self) -> int:
        """How many transactions with messages were flushed."""
        return len(self._covered)

    def postgres(self, connection: int, to_server: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's Watch
        """Read bytes between the relay and Postgres."""
        with self._lock:
            stream = self._streams[connection]
            for fact in stream.session.feed(data, to_server=to_server):
                match fact:
                    case Started(position) | KeptAlive(position):
                        heappush(stream.named, position)
                    case Sent(payload):
                        if transaction := stream.changes.read(payload):
                            self._sent(stream, transaction)
                    case Flushed(position):
                        self._flushed(stream, position)

    def broker(self, connection: int, to_server: bool, data: bytes) -> None:  # noqa: FBT001 - the proxy's Watch
        """Read bytes between the relay and the broker."""
        with self._lock:
            broker = self._brokers[connection]
            for fact in broker.session.feed(data, to_server=to_server):
                self._confirmed.update(broker.confirms.read(fact))

    def violations(self, *, besides: Collection[str] = ()) -> list[str]:
        """Return what was reported too early, without the messages `besides`: parked, or in a gap that was accepted."""
        with self._lock:
            found = [f"{format_lsn(position)} was flushed, and the server never named it" for position in self._unnamed]
            for early in self._early.values():
                if missing := [message for message in early.missing if message not in besides]:
                    _, end, messages = early.transaction
                    found.append(
                        f"{format_lsn(early.flushed)} was flushed, and of the transaction that ends at "
                        f"{format_lsn(end)} {len(missing)} of {len(messages)} messages were unconfirmed: {missing[:3]}"
                    )
            return found

    def _sent(self, stream: _Stream, transaction: Transaction) -> None:
        heappush(stream.named, transaction.end)
        if transaction.commit < stream.flushed:
            self._judge(stream.flushed, transaction)
        else:
            heappush(self._pending, transaction)

    def _flushed(self, stream: _Stream, position: int) -> None:
        if position <= stream.flushed:
            return
        stream.flushed = position
        self.flushes += 1
        while stream.named and stream.named[0] < position:
            heappop(stream.named)
        if position not in stream.named[:1]:
            self._unnamed.append(position)
        while self._pending and self._pending[0].commit < position:
            self._judge(position, heappop(self._pending))

    def _judge(self, position: int, transaction: Transaction) -> None:
        if transaction.messages:
            self._covered.add(transaction.end)
        if missing := [message for message in transaction.messages if message not in self._confirmed]:
            self._early.setdefault(transaction.end, _Early(position, transaction, missing))
