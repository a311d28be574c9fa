"""What the demo breaks while it runs: the relay is killed, and its slot is dropped under it, as by hand."""

from collections.abc import Callable
from typing import Any

import psycopg

from outboxkit import sql
from sandbox.demo.stage import Stage
from sandbox.demo.watching import Progress


class Breaking:
    """Breaks one thing after the other, each when it is due; `say` gets a line for each."""

    def __init__(
        self, stage: Stage, connection: psycopg.Connection[Any], tasks: int, say: Callable[[str], None]
    ) -> None:
        self._stage = stage
        self._connection = connection
        self._tasks = tasks
        self._say = say
        self._left = [self._kill, self._drop]

    @property
    def over(self) -> bool:
        """Whether everything was broken, and the relay streams again."""
        return not self._left and self._streams()

    def go_on(self, progress: Progress) -> None:
        """Break the next thing, if it is due: events go through, and with enough tasks the writers still write."""
        if self._left and progress.applied and self._left[0](progress):
            del self._left[0]

    def _kill(self, progress: Progress) -> bool:
        if progress.committed < self._tasks // 4:
            return False
        self._stage.kill("relay")
        self._stage.start("relay", "relay", "run")
        self._say(f"{progress.committed:,} tasks committed: relay killed with SIGKILL and started again")
        return True

    def _drop(self, progress: Progress) -> bool:
        if progress.committed < self._tasks // 2 or not self._streams():
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
