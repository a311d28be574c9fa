"""Watches processes from outside until they have done everything: samples what they count, and the CPU of all."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from bench.instruments import procfs
from bench.instruments.figures import Sample
from bench.stage import Publisher, Stage
from outboxkit.errors import Problem
from sandbox.machine.waiting import until

_STALLED_SECONDS = 60.0
_QUIET_SECONDS = 5.0
_QUIET_EVENTS = 20_000
_QUIET_SHARE = 0.85


class Watched(Protocol):
    """A process that works, such as a Program."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def pid(self) -> int:
        """Its id."""

    def check(self) -> None:
        """Raise Problem if it has ended, and does not work any more."""

    def last_line(self) -> str:
        """Return the last line of its output."""


class Counting:
    """Samples of `programs`, which have done as much as `count` says."""

    def __init__(self, stage: Stage, programs: Sequence[Watched], count: Callable[[], int]) -> None:
        self.samples: list[Sample] = []
        self._programs = programs
        self._count = count
        self._broker = stage.broker_pids()

    def sample(self) -> int:
        """Take a sample; returns how much is done."""
        for program in self._programs:
            program.check()
        count = self._count()
        busy, idle = procfs.machine()
        own, broker = procfs.cpu(program.pid for program in self._programs), procfs.cpu(self._broker)
        cpu = {"publisher": own, "rabbitmq": broker, "others": busy - own - broker, "idle": idle}
        self.samples.append(Sample(time.monotonic(), count, cpu))
        return count

    def until_counted(self, total: int, *, every: float, at_most: float = float("inf")) -> list[Sample]:
        """Take samples, `every` seconds apart, until `total` is counted; raises Problem when it stalls.

        After `at_most` seconds in which something was counted, what is counted so far is all.
        """
        ends = time.monotonic() + at_most
        moved = [0, time.monotonic()]

        def done() -> bool:
            count = self.sample()
            if count > moved[0]:
                moved[:] = [count, time.monotonic()]
            elif time.monotonic() - moved[1] > _STALLED_SECONDS:
                program = self._programs[0]
                raise Problem(
                    f"{program.name} has made no progress at {count} of {total} for {_STALLED_SECONDS:g} s; "
                    f"it last logged: {program.last_line()}",
                    remedy="see the servers' logs",
                )
            return count >= total or (count > 0 and time.monotonic() > ends)

        until(done, what="everything is done", seconds=float("inf"), every=every)
        return self.samples


class Watch(Counting):
    """Samples of one publisher: what RabbitMQ has confirmed."""

    def __init__(self, stage: Stage, publisher: Publisher) -> None:
        super().__init__(stage, [publisher.program], publisher.endpoint.confirmed)

    def until_confirmed(self, total: int, *, every: float) -> list[Sample]:
        """Take samples, `every` seconds apart, until `total` events are confirmed; raises Problem when it stalls."""
        return self.until_counted(total, every=every)


def wait_for_quiet(after: int) -> None:
    """Wait until the machine is nearly idle, at most 5 s: RabbitMQ may still delete the queue of `after` events."""
    deadline = time.monotonic() + min(_QUIET_SECONDS, after / _QUIET_EVENTS)
    last = [procfs.machine()]

    def quiet() -> bool:
        now = procfs.machine()
        busy, idle = (after - before for after, before in zip(now, last[0], strict=True))
        last[0] = now
        return time.monotonic() > deadline or idle > _QUIET_SHARE * (busy + idle) > 0

    until(quiet, what="the machine is quiet", seconds=_QUIET_SECONDS * 2, every=0.5)
