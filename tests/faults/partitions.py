"""An outbox is divided among several relays and made whole again, while relays are killed.

The relays of partitions reach Postgres directly: the oracle on the wire expects one relay to confirm a whole
transaction, and so it judges the relay of all events only.
"""

from sandbox.machine.waiting import until
from tests.faults.run import REPEATED, Fault, Run
from tests.support.commands import Command
from tests.support.partitions import member, name

_OF = 3
_KILLS = 4
_SKEW = 3_000
"""What some relays have published and others have not, when all are killed: the load of a few seconds."""
_FREE = 30.0
"""Seconds after which Postgres has noticed that a killed relay is gone."""


def divided_and_made_whole(run: Run) -> None:
    """Kill the relay, divide the outbox, kill relays of partitions and all of them, and make the outbox whole."""
    run.streaming_relay().kill()
    _set_up(run, 1, "--take-over", "relay")
    relays = {1: _start(run, 1)}
    for number in range(2, _OF + 1):
        _set_up(run, number)
        relays[number] = _start(run, number)
    for _ in range(_KILLS):
        number = run.draw.randint(1, _OF)
        assert relays[number].outlives(run.draw.uniform(0, 1)), relays[number].tail()
        relays[number].kill()
        relays[number] = _start(run, number)
    for relay in relays.values():
        relay.streams()
    run.flows()
    for relay in relays.values():
        relay.kill()
    _set_up(run, None, "--take-over", name(run.draw.randint(1, _OF)))
    run.healed()
    run.streaming_relay(60)


def _start(run: Run, number: int) -> Command:
    settings = member(run.stage.isolated, number, _OF)
    return run.stage.start("relay", "run", **settings, RELAY_AMQP_URL=run.broker.url, RELAY_PLUGIN="wal2json")


def _set_up(run: Run, number: int | None, *options: str) -> None:
    """Run setup of a partition's relay, or of that of all events, until no killed relay is in the way."""
    settings = {} if number is None else member(run.stage.isolated, number, _OF)

    def done() -> bool:
        return run.stage.run("relay", "setup", *options, **settings, RELAY_PLUGIN="wal2json").process.returncode == 0

    until(done, what="setup finds nobody active", seconds=_FREE)


FAULTS = (
    Fault(
        "outbox divided and made whole while relays are killed",
        divided_and_made_whole,
        duplicates=(_KILLS + _OF + 1) * REPEATED + _SKEW,
        recovers_within=60.0,
    ),
)
