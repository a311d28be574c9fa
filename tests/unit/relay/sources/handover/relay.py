"""A relay between two sources on the model server, by the classes that the real one decides with. Pure.

`without` takes one condition of the hand-over away, to show that a test of it can fail.
"""

from dataclasses import replace
from typing import Literal

from relay.core.position import Lsn, Snapshot
from relay.core.transactions import Transactions
from relay.sources.wal.published import Published
from relay.storage.state import State
from tests.unit.relay.sources.handover.model import Row, Server

Condition = Literal[
    "waiting for X", "X after the slot", "K", "the commit's begin", "fences behind F", "the flush",
    "the stored state after a restart",
]  # fmt: skip


class Relay:
    """Reads one source at a time; each of its methods is one step, and a crash may come between any two."""

    def __init__(self, server: Server, without: Condition | None = None) -> None:
        self._server = server
        self._without = without
        self.published: list[Row] = []
        self.again: set[Row] = set()
        """What may be published again: it was published and not stored when somebody crashed."""
        self._unstored: list[Row] = []
        self._stored = State("polling", None, server.snapshot(), Transactions())
        self._state = self._stored
        self._stream: Published | None = None
        self._at = Lsn(0)
        self._fences: set[Snapshot] = set()
        self._x: int | None = None
        self._made: Lsn | None = None
        """Where the slot begins that X was drawn for; somebody else may have made another one since."""

    @property
    def mode(self) -> str:
        """The source that is read."""
        return "wal" if self._stream is not None else "polling"

    # Streaming.

    def receive(self) -> None:
        """Read the next transaction of the stream, and confirm it."""
        if self._stream is None or not (commits := self._server.streamed(self._at)):
            return
        commit, stream = commits[0], self._stream
        fence = None
        if commit.fence in self._fences and commit.fence is not None:
            counts = self._without == "fences behind F" or stream.counts(commit.begin)
            fence = commit.fence if counts else None
        handed = False
        for row in commit.rows:
            if not self._polled(
                stream, commit.xid, commit.end if self._without == "the commit's begin" else commit.begin
            ):
                self._publish(row)
                handed = True
        if handed and self._without != "K":
            stream.ended(commit.xid, commit.end)
        self._at = commit.end
        stream.confirmed(commit.end, fence)
        self._state = stream.state(commit.end)

    def fence(self) -> None:
        """Write a fence."""
        if self._stream is None:
            return
        transaction = self._server.begin()
        snapshot = self._server.snapshot()
        self._server.commit(transaction, fence=snapshot)
        self._server.show(transaction)
        self._fences.add(snapshot)

    def break_off(self) -> None:
        """Break the stream: the slot is gone, and polling goes on from what is confirmed."""
        self._server.slot = None
        if self._stream is not None:
            self.to_polling()

    def to_polling(self) -> None:
        """Go over to polling, from what is confirmed."""
        if self._stream is not None:
            self._stream = None
            self._state = self._state.polled_on()
            self.store()

    # Polling.

    def poll(self) -> None:
        """Read a round, and confirm it."""
        if self._stream is not None or self._state.snapshot is None:
            return
        now = self._server.snapshot()
        rows = self._server.rows(self._state.snapshot, now)
        if self._without != "the flush":
            self._server.flush()
        for row, transaction in rows:
            if transaction not in self._state.streamed:
                self._publish(row)
        self._state = replace(self._state, snapshot=now, streamed=self._state.streamed.unseen(now))

    def intend(self) -> None:
        """Begin to make a new slot."""
        if self._stream is None and self._server.slot is None:
            if self._without == "X after the slot":
                self._draw()
            self._state = replace(self._state, making_slot=True)
            self.store()
            self._server.make_slot()

    def draw(self) -> None:
        """Draw X, once the slot is made."""
        if self._stream is None and self._server.go_on_making() and self._made is None:
            assert self._server.slot is not None
            self._made = self._server.slot.start
            if self._without != "X after the slot":
                self._draw()

    def back(self) -> None:
        """Go back to the WAL, if the last poll has seen enough."""
        slot, state = self._server.slot, self._state
        if self._stream is not None or slot is None or slot.start is None or state.snapshot is None:
            return
        kept = state.lsn is not None and slot.start <= state.lsn
        start = state.lsn if kept else self._made
        if start is None or not (kept or self._seen_enough(state.snapshot)):
            return
        self._state = state.streamed_on(start, self._server.end)
        self.store()
        self._open()

    # Both.

    def store(self) -> None:
        """Store what is confirmed: a commit, which flushes all before it."""
        self._server.flush()
        self._stored = self._state
        self._unstored.clear()

    def crash(self) -> None:
        """Lose the memory."""
        self.again.update(self._unstored)
        self._unstored.clear()
        self._x = self._made = None
        self._fences.clear()
        self._state = self._stored
        self._open()

    def server_crashed(self) -> None:
        """Notice that the server was started again: what was stored counts."""
        self.crash()

    def stored(self) -> State:
        """Return what is stored, for a copy of the database."""
        return self._stored

    def server_replaced(self, stored: State) -> None:
        """Notice that the server is an older copy, which has `stored`: that counts, and not what is remembered."""
        self.again.update(self.published)
        self._stored = stored
        if self._without == "the stored state after a restart":
            self._open()
        else:
            self.crash()

    def finish(self) -> None:
        """Read everything that there is."""
        self.poll()
        while self._stream is not None and self._server.streamed(self._at):
            self.receive()

    def _open(self) -> None:
        self._stream = None
        if self._state.mode == "polling":
            return
        slot = self._server.slot
        if slot is None or slot.start is None or self._state.lsn is None or slot.start > self._state.lsn:
            self._state = self._state.polled_on()
            self.store()
            return
        self._at, self._x, self._made = self._state.lsn, None, None
        self._stream = Published(self._state)

    def _seen_enough(self, snapshot: Snapshot) -> bool:
        return self._x is not None and (snapshot.xmin > self._x or self._without == "waiting for X")

    def _draw(self) -> None:
        transaction = self._server.begin()
        self._server.commit(transaction)
        self._server.show(transaction)
        self._x = transaction.xid

    def _polled(self, stream: Published, transaction: int, commits_at: Lsn) -> bool:
        return stream.polled(transaction, commits_at)

    def _publish(self, row: Row) -> None:
        self.published.append(row)
        self._unstored.append(row)
