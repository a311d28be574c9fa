"""Relays that share an outbox: nothing is lost, nobody publishes another's events, and each aggregate is in order.

The outbox is divided, and made whole again, under load.
"""

import random
from typing import LiteralString

from sandbox.machine.waiting import until
from tests.acceptance.report import Report
from tests.support.commands import Command
from tests.support.partitions import by_another, member, published
from tests.support.stage import WINDOW, Stage
from tests.support.things import Things

OF = 3
KILLS = 8
LARGEST = 12
"""How many events one transaction of the load has at most."""

CUT: LiteralString = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s"


def run(stage: Stage, number: int, **settings: str) -> Command:
    return stage.start("relay", "run", **member(stage.isolated, number, OF), **settings)


def set_up(stage: Stage, number: int, *options: str) -> None:
    setup = stage.run("relay", "setup", *options, **member(stage.isolated, number, OF))
    assert setup.process.returncode == 0, setup.tail()


def streaming(relays: list[Command]) -> None:
    for relay in relays:
        relay.streams()


def test_relays_that_are_killed_lose_nothing_and_each_publishes_its_own_partition(
    stage: Stage, seed: int, draw: random.Random, report: Report
) -> None:
    tap = stage.set_up(**member(stage.isolated, 1, OF))
    for number in range(2, OF + 1):
        set_up(stage, number)
    with Things(stage.isolated.database_url, seed=seed) as things:
        relays = {number: run(stage, number) for number in range(1, OF + 1)}
        streaming(list(relays.values()))
        for _ in range(KILLS):
            number = draw.randint(1, OF)
            assert relays[number].outlives(draw.uniform(0, 0.8)), relays[number].tail()
            relays[number].kill()
            relays[number] = run(stage, number)
        streaming(list(relays.values()))
        until(lambda: tap.waiting() > 500, what="events flow", seconds=60)
    published(stage.isolated.database_url)
    assert [relay.terminate() for relay in relays.values()] == [0] * OF

    assert by_another(stage.isolated.database_url) == []
    stage.settings |= member(stage.isolated, 2, OF)  # whichever relay audits, it audits all
    verdict = stage.judge(tap, things.committed)
    report(f"{KILLS} kills among {OF} relays, seed {seed}: {verdict}")
    assert verdict.duplicates <= KILLS * (3 * WINDOW + LARGEST)


def test_an_outbox_is_divided_and_made_whole_again_under_load(stage: Stage, seed: int, report: Report) -> None:
    tap = stage.set_up()
    with Things(stage.isolated.database_url, seed=seed) as things:
        whole = stage.start("relay", "run")
        whole.streams()
        until(lambda: tap.waiting() > 200, what="events flow", seconds=60)
        assert whole.terminate() == 0, whole.tail()

        set_up(stage, 1, "--take-over", "relay")
        relays = [run(stage, 1)]
        for number in range(2, OF + 1):
            set_up(stage, number)
            relays.append(run(stage, number))
        streaming(relays)
        divided = tap.waiting()
        until(lambda: tap.waiting() > divided + 200, what="events flow", seconds=60)
        assert [relay.terminate() for relay in relays] == [0] * OF

        setup = stage.run("relay", "setup", "--take-over", "part1")
        assert setup.process.returncode == 0, setup.tail()
        whole = stage.start("relay", "run")
        whole.streams()
    published(stage.isolated.database_url)
    assert whole.terminate() == 0, whole.tail()
    verdict = stage.judge(tap, things.committed)
    report(f"divided into {OF} and made whole again, seed {seed}: {verdict}")


def test_an_orderly_division_of_a_quiet_outbox_publishes_nothing_twice(stage: Stage, seed: int) -> None:
    tap = stage.set_up()
    whole = stage.start("relay", "run")
    whole.streams()
    with Things(stage.isolated.database_url, seed=seed) as things:
        until(lambda: tap.waiting() > 200, what="events flow", seconds=60)
    published(stage.isolated.database_url)
    assert whole.terminate() == 0
    set_up(stage, 1, "--take-over", "relay")
    relays = [run(stage, 1)]
    with Things(stage.isolated.database_url, seed=seed + 1) as more:
        for number in range(2, OF + 1):
            set_up(stage, number)
            relays.append(run(stage, number))
        streaming(relays)
    published(stage.isolated.database_url)
    stage.settings |= member(stage.isolated, OF, OF)
    verdict = stage.judge(tap, [*things.committed, *more.committed])
    assert verdict.duplicates == 0
    assert [relay.terminate() for relay in relays] == [0] * OF


def test_relays_of_partitions_have_standbys_and_change_their_source_each_for_itself(stage: Stage, seed: int) -> None:
    tap = stage.set_up(**member(stage.isolated, 1, OF))
    for number in range(2, OF + 1):
        set_up(stage, number)
    relays = [run(stage, number) for number in range(1, OF + 1)]
    streaming(relays)
    standby = run(stage, 1)
    standby.logged("standby")
    with Things(stage.isolated.database_url, seed=seed) as things:
        stage.query(CUT, f"{stage.isolated.name}_2")
        switched = stage.run("relay", "switch", "--to", "polling", **member(stage.isolated, 3, OF))
        assert switched.process.returncode == 0, switched.tail()
        relays[0].kill()
        standby.logged("streaming", seconds=40)
        until(lambda: tap.waiting() > 200, what="events flow", seconds=60)
    published(stage.isolated.database_url)
    assert relays[1].sources[-1] == "wal"
    assert relays[2].sources[-1] == "polling"
    stage.settings |= member(stage.isolated, 1, OF)
    stage.judge(tap, things.committed)
    assert [relay.terminate() for relay in (standby, *relays[1:])] == [0] * OF
