"""The relay reports nothing to Postgres as flushed that the broker has not confirmed before, as seen on the wire."""

import random

from sandbox.machine.waiting import until
from tests.acceptance.report import Report
from tests.support.proxy import Proxy
from tests.support.stage import Stage
from tests.support.things import Things
from tests.support.wire.acknowledgement import Acknowledgement

TRANSACTIONS = 60


def test_no_position_is_flushed_before_everything_below_it_is_confirmed(
    stage: Stage, seed: int, draw: random.Random, report: Report
) -> None:
    oracle = Acknowledgement()
    tap = stage.set_up()
    with (
        Proxy(stage.isolated.database_url, oracle.postgres) as postgres,
        Proxy(stage.isolated.amqp_url, oracle.broker) as broker,
    ):
        postgres.slice(draw)
        broker.slice(draw)
        through = {"RELAY_DATABASE_URL": postgres.url, "RELAY_AMQP_URL": broker.url, "RELAY_PLUGIN": "wal2json"}
        with Things(stage.isolated.database_url, seed=seed) as things:
            relay = stage.start("relay", "run", **through)
            relay.streams()
            # What was polled until now is covered too, as soon as the slot moves past it.
            _covers(oracle, stage.value("SELECT count(DISTINCT tx) FROM outbox.event") + TRANSACTIONS)
            relay.kill()
            relay = stage.start("relay", "run", **through)
            _covers(oracle, oracle.covered + TRANSACTIONS)
        stage.confirmed()
        assert relay.terminate() == 0, relay.tail()

    assert oracle.violations() == []
    verdict = stage.judge(tap, things.committed)
    report(f"{oracle.flushes} flushes of {oracle.covered} transactions, seed {seed}: {verdict}")


def _covers(oracle: Acknowledgement, transactions: int) -> None:
    """Wait until so many transactions are flushed, or one is flushed too early."""
    until(
        lambda: oracle.violations() or oracle.covered >= transactions,
        what=f"{transactions} transactions are flushed",
        seconds=180,
    )
    assert oracle.violations() == []
