"""Probes among the deliveries. The job `consumers.reannounce-tasks` sends them, and asks only whether they arrived.

A probe is taken out before its batch is claimed, noted in the database, and acknowledged then. If the consumer dies
between, it is delivered again.
"""

import asyncio
from collections.abc import Callable

import structlog

from consumers.postgres.database import Database
from outboxkit import sql
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.amqp.format import PROBE, UndecodableMessage, task_reference
from outboxkit.errors import Problem

log = structlog.get_logger()


class Probes:
    """Notes probes in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noting: set[asyncio.Task[None]] = set()

    def take(self, deliveries: list[Delivery], ack: Callable[[Delivery], None]) -> list[Delivery]:
        """Return the deliveries that are no probes; the others are acknowledged when they have been noted."""
        probes = [each for each in deliveries if each.headers is not None and PROBE in each.headers]
        if not probes:
            return deliveries
        noting = asyncio.get_running_loop().create_task(self._note(probes, ack), name="noting probes")
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)
        return [each for each in deliveries if each.headers is None or PROBE not in each.headers]

    async def _note(self, probes: list[Delivery], ack: Callable[[Delivery], None]) -> None:
        ids = []
        for probe in probes:
            try:
                ids.append(task_reference(probe.headers).task_id)
            except UndecodableMessage:  # somebody's own header of this name: nobody waits for it
                continue
        try:
            await self._database.fetch(sql.query("task_probes_arrived"), {"ids": ids})
        except Problem as problem:
            log.error(  # noqa: TRY400 - a Problem has no traceback to show
                "probe not noted", reason=problem.what, remedy=problem.remedy
            )
        for probe in probes:
            ack(probe)
