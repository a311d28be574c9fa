"""Setup never waits in silence, nor without a limit: whatever its session waits for is named, and given up in time.

A session that waits cannot ask for whom, so a thread asks on a connection of its own. At the limit it cancels the
statement that waits, which takes back what that statement has begun, a half-made slot too.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import psycopg
from psycopg.rows import class_row

from outboxkit import sql
from outboxkit.errors import Problem
from relay.operating.connection import connected
from relay.settings import RelaySettings
from relay.storage.slots.obstacles import Obstacle, ends

TIMEOUT = 60.0
_QUIET = 1.0
_LOOK_EVERY = 0.25


class HeldUp(Problem):
    """Other sessions held up setup for longer than its limit."""


@contextmanager
def watched(
    connection: psycopg.Connection[Any], settings: RelaySettings, *, timeout: float, say: Callable[[str], object]
) -> Iterator[None]:
    """Tell `say` who holds up a statement of the block for a second; raises HeldUp when it has lasted for `timeout`."""
    watch = _Watch(connection, settings, timeout=timeout, say=say)
    thread = Thread(target=watch.run, name="what setup waits for", daemon=True)
    thread.start()
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        if watch.problem is not None:
            raise watch.problem from error
        raise
    finally:
        watch.ended.set()
        thread.join()


class _Watch:
    def __init__(
        self,
        connection: psycopg.Connection[Any],
        settings: RelaySettings,
        *,
        timeout: float,
        say: Callable[[str], object],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._timeout = timeout
        self._say = say
        self._told: Sequence[Obstacle] = ()
        self._since: float | None = None
        self.problem: HeldUp | None = None
        self.ended = Event()

    def run(self) -> None:
        """Look until the block ends."""
        if self.ended.wait(_LOOK_EVERY):
            return
        try:
            with connected(self._settings, "setup watch") as watching:
                while not self.ended.wait(_LOOK_EVERY):
                    self._judge(self._look(watching), time.monotonic())
        except Problem as problem:
            self._limit_blindly(problem)

    def _look(self, watching: psycopg.Connection[Any]) -> list[Obstacle]:
        parameters = {"pid": self._connection.info.backend_pid, "slot": self._settings.slot}
        rows = watching.cursor(row_factory=class_row(Obstacle))
        return rows.execute(sql.query("setup_obstacles"), parameters).fetchall()

    def _judge(self, found: Sequence[Obstacle], now: float) -> None:
        if not found:
            self._since = None
            return
        self._since = now if self._since is None else self._since
        waited = now - self._since
        if waited >= self._timeout:
            self._give_up(found)
        elif waited >= _QUIET and _identities(found) != _identities(self._told):
            self._told = found
            self._say(f"setup waits for {_named(found)}; it gives up after {self._timeout:g} s")

    def _limit_blindly(self, problem: Problem) -> None:
        self._say(f"cannot see what setup waits for: {problem.what}")
        if not self.ended.wait(self._timeout):
            self.problem = HeldUp(
                f"setup has taken {self._timeout:g} s, and cannot see what it waits for: {problem.what}",
                remedy="see SELECT pid, pg_blocking_pids(pid) FROM pg_stat_activity; or wait longer with --timeout",
            )
            self._connection.cancel_safe()

    def _give_up(self, found: Sequence[Obstacle]) -> None:
        self.problem = HeldUp(
            f"setup has waited for {self._timeout:g} s for {_named(found)}",
            remedy=f"as the same user or a superuser: {ends(found)}; or wait longer with --timeout",
        )
        self._connection.cancel_safe()


def _identities(found: Sequence[Obstacle]) -> set[object]:
    return {each.pid or each.prepared for each in found}


def _named(found: Sequence[Obstacle]) -> str:
    return ", and for ".join(map(str, found))
