"""The intake: deliveries from RabbitMQ while the process runs. A lost subscription is opened again.

RabbitMQ delivers again what a lost channel had not acknowledged; acks for that channel are dropped by
outboxkit.amqp.consuming.subscription.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Self

import structlog

from consumers.intake.probes import Probes
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.consuming.subscription import Subscription
from outboxkit.backoff import Backoff
from outboxkit.errors import Problem

log = structlog.get_logger()


class Intake:
    """Deliveries of the subscriptions that `subscribe` opens with a prefetch, one after another."""

    def __init__(
        self, subscribe: Callable[[int], Awaitable[Subscription]], *, prefetch: int, probes: Probes | None = None
    ) -> None:
        self._subscribe_with = subscribe
        self._prefetch = prefetch
        self._probes = probes
        self._subscription: Subscription | None = None
        self._backoff = Backoff()
        self._logged = ""
        """The reason that was logged last, while there is no subscription."""
        self._stopped = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether there is a live subscription."""
        return self._subscription is not None and self._subscription.alive

    async def __aenter__(self) -> Self:
        """Subscribe for the first time; raises the Problem at once."""
        self._subscription = await self._subscribe_with(self._prefetch)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection: acks are sent first, and unacknowledged deliveries go back to the queue."""
        await self._close()

    async def receive(self, limit: int) -> list[Delivery]:
        """Wait for deliveries and return at most `limit`; return none after `stop`."""
        while not self._stopped.is_set():
            try:
                subscription = self._subscription or await self._subscribe_again()
                if not self._stopped.is_set():
                    deliveries = await subscription.receive(limit)
                    left = deliveries if self._probes is None else self._probes.take(deliveries, self.ack)
                    if left:
                        return left
            except Problem as problem:
                await self._lost(problem)
        return []

    def owns(self, delivery: Delivery) -> bool:
        """Whether `delivery` can still be acknowledged; if its channel is lost, RabbitMQ delivers it again."""
        return self._subscription is not None and self._subscription.owns(delivery)

    def counts(self, delivery: Delivery) -> bool:
        """Whether `delivery` is one of those that the prefetch allows; those from before its last change are not."""
        return self._subscription is not None and self._subscription.counts(delivery)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge `delivery`, unless its channel is lost."""
        if self._subscription is not None:
            self._subscription.ack(delivery)

    def nack(self, delivery: Delivery) -> None:
        """Give `delivery` back to the queue, unless its channel is lost."""
        if self._subscription is not None:
            self._subscription.nack(delivery)

    def reject(self, delivery: Delivery) -> None:
        """Dead-letter `delivery`, unless its channel is lost."""
        if self._subscription is not None:
            self._subscription.reject(delivery)

    async def set_prefetch(self, prefetch: int) -> None:
        """Let at most `prefetch` deliveries be unacknowledged."""
        self._prefetch = prefetch
        if self._subscription is not None and not self._stopped.is_set():
            with contextlib.suppress(Problem):  # the channel is lost: the next subscription has the new number
                await self._subscription.set_prefetch(prefetch)

    async def stop(self) -> None:
        """Receive no more deliveries; received ones can still be acknowledged."""
        self._stopped.set()
        if self._subscription is not None:
            await self._subscription.cancel()

    async def _subscribe_again(self) -> Subscription:
        self._subscription = await self._subscribe_with(self._prefetch)
        self._backoff.reset()
        self._logged = ""
        log.info("subscribed again")
        return self._subscription

    async def _lost(self, problem: Problem) -> None:
        if problem.what != self._logged:
            log.warning("broker not available", reason=problem.what, remedy=problem.remedy)
        self._logged = problem.what
        await self._close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), self._backoff.next_delay())

    async def _close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()
