"""Hand-overs at any point of any history: nothing is missing, nothing comes twice without a crash, order is kept.

The same histories break each variant that lacks one condition, so they can see a loss.
"""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.storage.state import State
from tests.unit.relay.sources.handover.model import Phase, Row, Server, Transaction
from tests.unit.relay.sources.handover.relay import Condition, Relay

_AGGREGATES = 4
_STEPS = 150


class History:
    """One history of a server and a relay, as `draw` decides: it returns a number below its argument."""

    def __init__(self, draw: Callable[[int], int], without: Condition | None = None, *, crashes: bool = True) -> None:
        self._draw = draw
        self._server = Server()
        self._relay = Relay(self._server, without)
        self._open: list[Transaction] = []
        self._twice: list[Row] = []
        self._copied: tuple[Server, State] | None = None
        self._vanished: set[Row] = set()
        """What an older copy did not have."""
        server, relay = self._server, self._relay
        self._steps: list[Callable[[], object]] = [
            self._begin, self._write, self._write, self._commit, self._commit, self._show, self._show, self._abort,
            server.flush, relay.receive, relay.receive, relay.receive, relay.fence, relay.store, relay.poll, relay.poll,
            relay.intend, server.go_on_making, relay.draw, relay.back, relay.back, relay.to_polling, relay.break_off,
        ]  # fmt: skip
        if crashes:
            self._steps += [relay.crash, self._crash, self._copy, self._restore]

    def run(self) -> None:
        """Run it, and let everything end."""
        for _ in range(_STEPS):
            before = len(self._relay.published)
            self._steps[self._draw(len(self._steps))]()
            self._count(before)
        for transaction in self._open:
            if transaction.phase is Phase.RUNNING:
                self._server.commit(transaction)
            if transaction.phase is Phase.COMMITTED:
                self._server.show(transaction)
        self._server.flush()
        before = len(self._relay.published)
        self._relay.finish()
        self._count(before)

    def broken(self) -> list[str]:
        """Return what is wrong at the end."""
        committed, published = self._server.visible(), self._relay.published
        found = [
            ("missing", set(committed) - set(published)),
            ("ghosts", set(published) - set(committed) - self._vanished),
            ("twice", self._twice),
            ("out of order", self._out_of_order()),
        ]
        return [f"{what}: {rows}" for what, rows in found if rows]

    def _count(self, before: int) -> None:
        earlier = set(self._relay.published[:before])
        for row in self._relay.published[before:]:
            if row in earlier and row not in self._relay.again:
                self._twice.append(row)
            earlier.add(row)

    def _out_of_order(self) -> list[Row]:
        last: dict[int, Row] = {}
        seen: set[Row] = set()
        wrong = []
        for row in self._relay.published:
            aggregate = self._server.aggregate_of[row]
            if row not in seen and row < last.get(aggregate, Row(0)):
                wrong.append(row)
            seen.add(row)
            last[aggregate] = max(row, last.get(aggregate, Row(0)))
        return wrong

    # The application.

    def _one(self, phase: Phase) -> Transaction | None:
        found = [each for each in self._open if each.phase is phase]
        return found[self._draw(len(found))] if found else None

    def _begin(self) -> None:
        self._open.append(self._server.begin())

    def _write(self) -> None:
        transaction, aggregate = self._one(Phase.RUNNING), self._draw(_AGGREGATES)
        if transaction is not None and (aggregate in transaction.aggregates or not self._server.locked(aggregate)):
            self._server.write(transaction, aggregate)

    def _commit(self) -> None:
        if (transaction := self._one(Phase.RUNNING)) is not None:
            self._server.commit(transaction)

    def _show(self) -> None:
        if (transaction := self._one(Phase.COMMITTED)) is not None:
            self._server.show(transaction)

    def _abort(self) -> None:
        if (transaction := self._one(Phase.RUNNING)) is not None:
            self._server.abort(transaction)

    def _copy(self) -> None:
        self._copied = self._server.copy(), self._relay.stored()

    def _restore(self) -> None:
        if self._copied is not None:
            server, stored = self._copied
            self._server.restore(server)
            self._vanished.update(set(self._server.aggregate_of) - set(self._server.visible()))
            self._open.clear()
            self._relay.server_replaced(stored)

    def _crash(self) -> None:
        self._server.crash()
        self._open = [each for each in self._open if each.phase in {Phase.RUNNING, Phase.COMMITTED}]
        self._relay.server_crashed()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_nothing_is_missing_or_out_of_order_and_nothing_comes_twice_without_a_crash(data: st.DataObject) -> None:
    history = History(lambda below: data.draw(st.integers(0, below - 1)))

    history.run()

    assert not history.broken()


@pytest.mark.parametrize("crashes", [True, False])
def test_many_histories_hold(*, crashes: bool) -> None:
    for seed in range(2000):
        history = History(random.Random(seed).randrange, crashes=crashes)  # noqa: S311 - for repeatable histories
        history.run()
        assert not history.broken(), f"seed {seed}: {history.broken()}"


@pytest.mark.parametrize(
    ("without", "crashes"),
    [
        ("waiting for X", False),
        ("X after the slot", False),
        ("K", False),
        ("the commit's begin", False),
        ("fences behind F", False),
        ("the flush", True),
        ("the stored state after a restart", True),
    ],
)
def test_each_condition_is_needed(without: Condition, *, crashes: bool) -> None:
    for seed in range(10_000):
        history = History(random.Random(seed).randrange, without, crashes=crashes)  # noqa: S311 - the same
        history.run()
        if history.broken():
            return
    pytest.fail(f"no history needs {without}")
