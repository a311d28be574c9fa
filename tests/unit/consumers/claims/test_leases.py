"""When leases are extended again."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, LiteralString
from uuid import UUID, uuid4

from consumers.claims import leases
from consumers.claims.claims import Claims
from consumers.postgres.database import Database
from outboxkit.amqp.format import TaskReference

ONE, TWO, THREE = (TaskReference(str(uuid4()), 2) for _ in range(3))


class Recorded(Claims):
    """Claims in memory: whose leases were to be extended each time, and whose were not because of locked rows."""

    def __init__(self, *locked: set[TaskReference]) -> None:
        self.lease = 3000
        self.asked: list[set[TaskReference]] = []
        self.answered = asyncio.Event()
        self._locked = list(locked)

    async def extend(self, claimed: Collection[TaskReference]) -> set[TaskReference]:
        self.asked.append(set(claimed))
        locked = self._locked.pop(0) if self._locked else set()
        if not self._locked:
            self.answered.set()
        return locked


def test_leases_whose_rows_were_locked_are_extended_again_soon_and_alone_while_their_tasks_are_claimed() -> None:
    async def run() -> list[set[TaskReference]]:
        claims, claimed = Recorded({TWO, THREE}, {TWO}, set()), [{ONE, TWO, THREE}, {ONE, TWO}, {TWO}]
        keeping = asyncio.create_task(
            leases.keep(claims, lambda: claimed[len(claims.asked)], times_per_lease=3, again=0.01)
        )
        async with asyncio.timeout(20):
            await claims.answered.wait()
        keeping.cancel()
        return claims.asked

    assert asyncio.run(run()) == [{ONE, TWO, THREE}, {TWO}, {TWO}]


def test_a_task_that_is_claimed_while_leases_are_extended_is_not_taken_for_a_locked_one() -> None:
    claimed = {ONE: None, TWO: None}

    class Answering(Database):
        """Extends the lease of one; another task is claimed meanwhile."""

        async def fetch(
            self, statement: LiteralString, parameters: Mapping[str, object] | None = None
        ) -> list[tuple[Any, ...]]:
            del statement, parameters
            claimed[THREE] = None
            return [(UUID(ONE.task_id),)]

    claims = Claims(Answering(str, name="t"), worker="w", lease=30)
    assert asyncio.run(claims.extend(claimed.keys())) == {TWO}


def test_a_lease_that_is_shorter_is_extended_as_often_as_before() -> None:
    async def run() -> list[set[TaskReference]]:
        claims = Recorded({ONE}, set())
        claims.lease = 0.03
        keeping = asyncio.create_task(leases.keep(claims, lambda: {ONE, TWO}, times_per_lease=3, again=1))
        async with asyncio.timeout(20):
            await claims.answered.wait()
        keeping.cancel()
        return claims.asked

    assert asyncio.run(run()) == [{ONE, TWO}, {ONE, TWO}]
