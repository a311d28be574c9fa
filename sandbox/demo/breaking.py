"""What the demo breaks while it runs: the relay and a consumer are killed, the slot is dropped, tasks are cancelled."""

from collections.abc import Callable
from typing import Any

import psycopg

from outboxkit import sql
from sandbox.demo.stage import Stage
from sandbox.demo.watching import Progress

CANCELLED = 0.02
"""The share of tasks that somebody cancels, at random times; what has just ended cannot be cancelled any more."""


class Breaking:
    """Breaks one thing after the other, each when it is due, and kills `consumer`; `say` gets a line for each."""

    def __init__(
        self,
        stage: Stage,
        connection: psycopg.Connection[Any],
        tasks: int,
        consumer: str,
        say: Callable[[str], None],
    ) -> None:
        self._stage = stage
        self._connection = connection
        self._tasks = tasks
        self._consumer = consumer
        self._say = say
        self._left = [self._kill_relay, self._kill_consumer, self._drop]
        self._cancelled = 0

    @property
    def over(self) -> bool:
        """Whether everything was broken, and the relay streams again."""
        return not self._left and self._streams()

    def go_on(self, progress: Progress) -> None:
        """Break the next thing, if it is due: events go through, and with enough tasks the writers still write."""
        if not progress.ended:
            return
        if due := round(progress.committed * CANCELLED) - self._cancelled:
            self._connection.execute(sql.example("demo_cancel"), {"tasks": due})
            self._cancelled += due
        if self._left and self._left[0](progress):
            del self._left[0]

    def _kill_relay(self, progress: Progress) -> bool:
        if progress.committed < self._tasks * 0.5:
            return False
        self._stage.kill("relay")
        self._stage.start("relay", "relay", "run")
        self._say(f"{progress.committed:,} tasks committed: relay killed with SIGKILL and started again")
        return True

    def _kill_consumer(self, progress: Progress) -> bool:
        if progress.committed < self._tasks * 0.65:
            return False
        self._stage.kill(self._consumer)
        self._stage.start(self._consumer, "consumers", "run")
        self._say(f"{progress.committed:,} tasks committed: {self._consumer} killed with SIGKILL and started again")
        return True

    def _drop(self, progress: Progress) -> bool:
        if progress.committed < self._tasks * 0.8 or not self._streams():
            return False
        slot = {"slot": self._stage.slot}
        self._connection.execute(sql.example("demo_end_stream"), slot)
        try:
            self._connection.execute(sql.query("slot_drop"), slot)
        except psycopg.errors.ObjectInUse:  # the relay was faster
            return False
        self._say(f"{progress.committed:,} tasks committed: replication slot dropped by hand")
        return True

    def _streams(self) -> bool:
        row = self._connection.execute(sql.example("demo_streams"), {"slot": self._stage.slot}).fetchone()
        return row is not None and bool(row[0])
