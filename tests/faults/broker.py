"""RabbitMQ stops under load and starts again, or blocks publishers for lack of memory or disk."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from bench.instruments.metrics import Endpoint
from sandbox.machine import ports
from sandbox.machine.waiting import until
from tests.faults.run import REPEATED, Fault, Run
from tests.support.tap import Tap

# RabbitMQ 3.10 loses a quorum queue that was declared shortly before a kill.
_AGE = 30
_TIMEOUT = 4
_SHORT_TIMEOUT = "ALTER DATABASE {} SET wal_sender_timeout = '4s'"
_READY_LAG = 3
_MEANWHILE = 15_000
# A relay grew by 2.6 MB; one without a window, with all of these in memory, by 24 MB.
_MORE_RESIDENT = 12 << 20
_HOLDER = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
_MORE_DISK_THAN_THERE_IS = str(10**15)


def restarted(run: Run) -> None:
    """Shut it down, and start it again."""
    relay = run.streaming_relay()
    run.box.rabbitmq.stop()
    assert relay.outlives(run.draw.uniform(0, 3)), relay.tail()
    _comes_back(run)


def killed(queue: Literal["classic", "quorum"], run: Run) -> None:
    """Kill it when its queue is old enough to survive (see _AGE)."""
    run.tap.unbind()
    declared = time.monotonic()
    isolated = run.stage.isolated
    run.tap = Tap(isolated.amqp_url, queue=isolated.queue(queue), exchange=isolated.name, kind=queue)
    relay = run.streaming_relay()
    assert relay.outlives(declared + _AGE + run.draw.uniform(0, 2) - time.monotonic()), relay.tail()
    run.box.rabbitmq.kill()
    _comes_back(run)


def _comes_back(run: Run) -> None:
    """Start it; the relay must continue, and must have respected its backoff."""
    run.relay.logged("broker not available")
    run.box.rabbitmq.start()
    run.healed()
    run.flows()
    run.no_storm()


def alarmed(option: str, alarm: str, calm: str, run: Run) -> None:
    """Raise an alarm for longer than wal_sender_timeout, and write more than a relay may keep in memory."""
    run.alter_database(_SHORT_TIMEOUT)
    address = f"127.0.0.1:{ports.free(1)[0]}"
    relay = run.streaming_relay(RELAY_HTTP_ADDRESS=address, RELAY_READY_LAG=str(_READY_LAG))
    endpoint = Endpoint(address)
    holder = run.stage.value(_HOLDER, run.stage.isolated.name)
    with _alarm(run, option, alarm, calm):
        relay.logged("broker blocked")
        taken = run.tap.waiting()
        run.commit(_MEANWHILE, "meanwhile")
        assert relay.outlives(2 * _TIMEOUT + run.draw.uniform(0, 2)), relay.tail()
        assert run.tap.waiting() == taken
        assert "relay_broker_blocked 1.0" in endpoint.metrics()
        assert endpoint.get("/readyz") == (503, '{"source":true,"broker":true,"lag":false}')
    run.healed()
    relay.logged("broker unblocked")
    run.flows()
    until(lambda: "relay_broker_blocked 0.0" in endpoint.metrics(), what="the metric falls", seconds=10)
    until(endpoint.ready, what="it is ready again", seconds=30)
    assert run.stage.value(_HOLDER, run.stage.isolated.name) == holder
    run.no_storm(1)


@contextmanager
def _alarm(run: Run, option: str, alarm: str, calm: str) -> Iterator[None]:
    run.box.rabbitmq.control(option, alarm)
    try:
        yield
    finally:
        run.box.rabbitmq.control(option, calm)


FAULTS = (
    Fault("RabbitMQ restarted in order", restarted, duplicates=REPEATED),
    Fault("RabbitMQ killed with a classic queue", partial(killed, "classic"), duplicates=REPEATED),
    Fault("RabbitMQ killed with a quorum queue", partial(killed, "quorum"), duplicates=REPEATED),
    Fault(
        "RabbitMQ out of memory",
        partial(alarmed, "set_vm_memory_high_watermark", "0", "0.4"),
        duplicates=0,
        growth=_MORE_RESIDENT,
    ),
    Fault(
        "RabbitMQ out of disk",
        partial(alarmed, "set_disk_free_limit", _MORE_DISK_THAN_THERE_IS, "50000000"),
        duplicates=0,
        growth=_MORE_RESIDENT,
    ),
)
