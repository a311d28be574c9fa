"""Watches a publisher from outside until everything is confirmed: samples its count and the CPU of all."""

import time

from bench.instruments import procfs
from bench.instruments.figures import Sample
from bench.stage import Publisher, Stage
from outboxkit.errors import Problem
from sandbox.machine.waiting import until

_STALLED_SECONDS = 60.0
_QUIET_SECONDS = 5.0
_QUIET_EVENTS = 20_000
_QUIET_SHARE = 0.85


class Watch:
    """Samples of one publisher."""

    def __init__(self, stage: Stage, publisher: Publisher) -> None:
        self.samples: list[Sample] = []
        self._publisher = publisher
        self._broker = stage.broker_pids()

    def sample(self) -> int:
        """Take a sample; returns how many events are confirmed."""
        self._publisher.program.check()
        count = self._publisher.endpoint.confirmed()
        busy, idle = procfs.machine()
        own, broker = procfs.cpu([self._publisher.program.pid]), procfs.cpu(self._broker)
        cpu = {"publisher": own, "rabbitmq": broker, "others": busy - own - broker, "idle": idle}
        self.samples.append(Sample(time.monotonic(), count, cpu))
        return count

    def until_confirmed(self, total: int, *, every: float) -> list[Sample]:
        """Take samples, `every` seconds apart, until `total` events are confirmed; raises Problem when it stalls."""
        moved = [0, time.monotonic()]

        def done() -> bool:
            count = self.sample()
            if count > moved[0]:
                moved[:] = [count, time.monotonic()]
            elif time.monotonic() - moved[1] > _STALLED_SECONDS:
                program = self._publisher.program
                raise Problem(
                    f"{program.name} has made no progress at {count} of {total} for {_STALLED_SECONDS:g} s; "
                    f"it last logged: {program.last_line()}",
                    remedy="see the servers' logs",
                )
            return count >= total

        until(done, what="everything is confirmed", seconds=float("inf"), every=every)
        return self.samples


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
