"""Servers restart under load: both commands reconnect, and nothing is lost or repeated."""

from collections.abc import Callable

import pytest

from sandbox import Sandbox
from tests.acceptance.report import Report
from tests.support.stage import Stage
from tests.support.things import Things

RATE = 300


def rabbitmq_in_order(sandbox: Sandbox) -> None:
    sandbox.rabbitmq.stop()
    sandbox.rabbitmq.start()


def postgres_immediately(sandbox: Sandbox) -> None:
    sandbox.postgres.stop("immediate")
    sandbox.postgres.start()


@pytest.mark.parametrize("restart", [rabbitmq_in_order, postgres_immediately])
def test_a_restart_under_load_loses_and_repeats_nothing(
    restart: Callable[[Sandbox], None], sandbox: Sandbox, stage: Stage, seed: int, report: Report
) -> None:
    tap = stage.set_up()
    consumers = stage.consumers(2)
    relay = stage.start("relay", "run")
    load = stage.submit("--count", "1000000", "--writers", "4", "--batch", "10", "--rate", str(RATE))
    with Things(stage.isolated.database_url, seed=seed) as things:
        stage.applied(RATE)
        try:
            restart(sandbox)
        finally:
            sandbox.postgres.start()
            sandbox.rabbitmq.start()
        stage.applied(len(stage.ids()) + RATE)
        assert load.terminate() == 143, load.tail()
    stage.applied(len(stage.ids()))
    stage.confirmed()

    assert relay.terminate() == 0, relay.tail()
    assert [consumer.terminate() for consumer in consumers] == [0, 0]
    report(f"seed {seed}: {stage.judge(tap, things.committed)}")
