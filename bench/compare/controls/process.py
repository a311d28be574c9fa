"""Runs a control through the relay's engine and publisher: a process (`python -m bench.compare.controls.process`).

It is built as relay/app.py builds a relay, without what the control does not have: a slot, leadership, maintenance. Its
metrics have the relay's names.
"""

import asyncio
import gc
import signal
from contextlib import AsyncExitStack
from typing import Any, assert_never

from bench.compare.arms import Control
from bench.compare.controls.last_id import LastIdSource
from bench.compare.controls.one_confirm import OneConfirmSource
from bench.load import programs
from relay.core.engine import Engine, Timings
from relay.core.evidence import Evidence
from relay.core.lifetime.fencing import Fencing
from relay.core.lifetime.shutdown import Shutdown
from relay.core.lifetime.supervisor import Supervisor
from relay.core.messages.routing import Router
from relay.core.observations import Observation, Observe
from relay.core.ports import Source
from relay.publishing.link import Broker
from relay.publishing.publisher import Policy, RabbitPublisher
from relay.storage.parking import PostgresParking
from relay.storage.sessions.session import Session
from relay.watching.health import serve
from relay.watching.logbook import Logbook
from relay.watching.metrics import Metrics

_BATCH = 1000
"""The relay's default."""
_MAX_MESSAGE_BYTES = 1 << 20
_CONFIRM_SECONDS = 30.0
_RELEASE_SECONDS = 15.0
_READY_LAG = 60.0


async def run(  # noqa: PLR0913 - the settings of a relay
    *, control: Control, database_url: str, amqp_url: str, exchange: str, window: int, interval: float,
    http_address: str,
) -> None:  # fmt: skip
    """Relay until SIGTERM."""
    stop, logbook, metrics = asyncio.Event(), Logbook(), Metrics()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def observe(seen: Observation) -> None:
        logbook(seen)
        metrics(seen)

    def session(purpose: str) -> Session:
        return Session(lambda: database_url, name=f"control {purpose}", slot="", prepared=["stream_formats"])

    async with AsyncExitStack() as stack:
        reading, storing, parking = [
            await stack.enter_async_context(session(purpose)) for purpose in ("reading", "storing", "parking")
        ]
        supervisor = await stack.enter_async_context(Supervisor(observe))
        fencing = Fencing()
        policy = Policy("control", exchange, window, _MAX_MESSAGE_BYTES, "park", _CONFIRM_SECONDS)
        publisher = RabbitPublisher(lambda: Broker(amqp_url), policy, observe, fenced=fencing.holds)
        await publisher.connect()
        engine = Engine(
            _source(control, reading, storing, interval, observe),
            Router(exchange, "{aggregate_type}.{event_type}"),
            publisher,
            PostgresParking(parking, relay="control", outbox="outbox.event"),
            None,
            evidence=Evidence(recording=False),
            fencing=fencing,
            shutdown=Shutdown(),
            supervisor=supervisor,
            observe=observe,
            timings=Timings(release_slot_after=_RELEASE_SECONDS, store_after=window),
        )
        await stack.enter_async_context(serve(http_address, metrics, publisher.in_flight, ready_lag=_READY_LAG))
        gc.freeze()  # as a relay does
        gc.set_threshold(20_000, 50, 100)
        await engine.run(stop)


def _source(control: Control, reading: Session, storing: Session, interval: float, observe: Observe) -> Source:
    match control:
        case "last_id":
            return LastIdSource(reading, storing, interval=interval, batch=_BATCH, observe=observe)
        case "one_confirm":
            return OneConfirmSource(reading, interval=interval, batch=_BATCH, observe=observe)
        case _:
            assert_never(control)


def main(arguments: dict[str, Any]) -> None:
    """Call `run` with `arguments`."""
    asyncio.run(run(**arguments))


if __name__ == "__main__":
    main(programs.arguments())
