"""Probes among deliveries: taken out, noted, and acknowledged after that."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from consumers.intake.probes import Probes
from consumers.postgres.database import Database
from outboxkit.amqp.consuming.deliveries import Delivery
from outboxkit.errors import Problem

ONE, TWO = str(UUID(int=1)), str(UUID(int=2))


class Noted:
    """Stands for the database: it answers when it is let, or with a Problem."""

    def __init__(self, problem: Problem | None = None) -> None:
        self.ids: list[str] = []
        self.answers = asyncio.Event()
        self._problem = problem

    async def fetch(self, _: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        await self.answers.wait()
        if self._problem is not None:
            raise self._problem
        self.ids += parameters["ids"]
        return [(len(parameters["ids"]),)]


def delivery(tag: int, task: object = ONE, **headers: object) -> Delivery:
    own = {"aggregate_type": "task", "aggregate_id": str(task), "aggregate_version": 1}
    return Delivery(
        tag, f"m{tag}", {**own, **headers}, b"{}", redelivered=False, routing_key="task.pending", generation=1
    )


def probe(tag: int, task: object = ONE) -> Delivery:
    return delivery(tag, task, **{"x-probe": True})


async def scene(noted: Noted, deliveries: list[Delivery]) -> tuple[list[int], list[int], list[int]]:
    """Return the tags of what was left, and of what was acknowledged before and after the database had answered."""
    acked: list[int] = []
    probes = Probes(cast("Database", noted))
    left = probes.take(deliveries, lambda delivery: acked.append(delivery.tag))
    await asyncio.sleep(0)
    before = list(acked)
    noted.answers.set()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)
    return [each.tag for each in left], before, acked


def test_probes_are_taken_out_and_acknowledged_once_they_are_noted() -> None:
    async def run() -> None:
        noted = Noted()
        found = await scene(noted, [delivery(1), probe(2), delivery(3), probe(4, TWO)])
        assert found == ([1, 3], [], [2, 4])
        assert noted.ids == [ONE, TWO]

    asyncio.run(run())


def test_without_probes_nothing_is_asked_and_a_message_without_headers_is_none() -> None:
    async def run() -> None:
        noted = Noted()
        plain = Delivery(9, None, None, b"", redelivered=False, routing_key="", generation=1)
        assert await scene(noted, [delivery(1), plain]) == ([1, 9], [], [])
        assert noted.ids == []

    asyncio.run(run())


@pytest.mark.parametrize("task", ["no uuid", None])
def test_a_header_of_that_name_in_somebody_elses_message_ends_nothing(task: object) -> None:
    async def run() -> None:
        noted = Noted()
        assert await scene(noted, [probe(1, task), probe(2)]) == ([], [], [1, 2])
        assert noted.ids == [ONE]

    asyncio.run(run())


def test_a_probe_that_cannot_be_noted_is_logged_and_not_delivered_again_and_again() -> None:
    async def run() -> None:
        with capture_logs() as log:
            found = await scene(Noted(Problem("permission denied", remedy="run sql/roles.sql")), [probe(1)])
        assert found == ([], [], [1])
        assert [(line["event"], line["reason"], line["remedy"]) for line in log] == [
            ("probe not noted", "permission denied", "run sql/roles.sql")
        ]

    asyncio.run(run())
