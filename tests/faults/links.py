"""The network between the relay and its servers: cut, black-holed one way or both, slow, late, in small pieces."""

from functools import partial

from sandbox.machine.waiting import until
from tests.faults.run import REPEATED, Fault, Run
from tests.support.proxy import Proxy

_CUTS = 8
# When a relay must have noticed that a server does not answer: its heartbeat, and five seconds.
_NOTICED_SECONDS = 10 + 5
# How late a log line may be on a busy machine.
_SLACK_SECONDS = 3
_SLOW_BYTES_PER_SECOND = 40_000
_SLOW_SECONDS = 20
# So slow that the next connection is still publishing when the answers of the one before are released.
_TRICKLE_BYTES_PER_SECOND = 2000
_ONE_UNROUTABLE = """
SELECT n, outbox.publish('late', '1', n, 'made', '{}', exchange => CASE n WHEN %s THEN %s END)
FROM generate_series(1, 5) AS n
"""
_PARKED = "SELECT id, reason FROM relay.parked"
_LOST = {"postgres": "source not available", "broker": "broker not available"}


def cut(link: str, run: Run) -> None:
    """Reset the link's connections repeatedly, and refuse new ones for a while."""
    relay = run.streaming_relay()
    proxy = _proxy(link, run)
    for _ in range(_CUTS):
        refused = run.draw.random() < 0.5
        if refused:
            proxy.refuse.set()
        proxy.cut()
        assert relay.outlives(run.draw.uniform(0, 2)), relay.tail()
        proxy.refuse.clear()
        run.flows()
    run.healed()
    relay.logged(_LOST[link])
    run.flows()


def black_holed(link: str, run: Run, *, to_server: bool, to_client: bool) -> None:
    """Swallow the bytes on the link until the relay has noticed, and a little longer."""
    relay = run.streaming_relay()
    proxy = _proxy(link, run)
    assert relay.outlives(run.draw.uniform(0, 5)), relay.tail()
    holes = [*([proxy.swallow_to_server] if to_server else []), *([proxy.swallow_to_client] if to_client else [])]
    for hole in holes:
        hole.set()
    relay.logged(_LOST[link], seconds=_NOTICED_SECONDS + _SLACK_SECONDS)
    assert relay.outlives(run.draw.uniform(0, 5)), relay.tail()
    for hole in holes:
        hole.clear()
    proxy.cut()
    run.healed()
    run.flows()


def slow(link: str, run: Run) -> None:
    """Forward less than the writers write: the relay falls behind, and keeps its connections."""
    relay = run.streaming_relay()
    proxy = _proxy(link, run)
    proxy.slow(_SLOW_BYTES_PER_SECOND)
    assert relay.outlives(_SLOW_SECONDS), relay.tail()
    run.flows(1)
    proxy.slow(None)
    run.healed()
    run.flows()
    _lost_no_connection(run)


def answered_late(run: Run) -> None:
    """Keep RabbitMQ's answers until the relay has connected again, and release them while it publishes again."""
    relay = run.streaming_relay()
    run.stop_load()
    run.stage.confirmed()
    nowhere = run.stage.isolated.exchange("nowhere")
    with run.tap.channel() as channel:
        channel.exchange_declare(nowhere, "topic", durable=True)
    run.broker.hold()
    stray = run.draw.randint(1, 5)
    events = dict(run.stage.query(_ONE_UNROUTABLE, stray, nowhere))
    run.events += events.values()
    relay.logged(_LOST["broker"], seconds=_NOTICED_SECONDS + _SLACK_SECONDS)
    run.broker.slow(_TRICKLE_BYTES_PER_SECOND)
    until(lambda: _publishing(run) > 1, what="the relay is connected again", seconds=_NOTICED_SECONDS)
    run.broker.release()
    until(lambda: run.stage.query(_PARKED), what="an event is parked", seconds=_NOTICED_SECONDS)
    run.stage.confirmed()
    assert run.stage.query(_PARKED) == [(str(events[stray]), "returned")]
    run.broker.slow(None)
    run.start_load()
    run.healed()
    run.flows()
    run.no_storm(2)


def _publishing(run: Run) -> int:
    return [line["event"] for line in run.relay.log].count("publishing")


def sliced(link: str, run: Run) -> None:
    """Deliver everything in small pieces."""
    _proxy(link, run).slice(run.draw)
    run.streaming_relay()
    run.flows(1000)
    run.healed()
    _lost_no_connection(run)


def _lost_no_connection(run: Run) -> None:
    lost = [line for line in run.relay.log if line["event"] in _LOST.values()]
    assert not lost, lost


def _proxy(link: str, run: Run) -> Proxy:
    return run.postgres if link == "postgres" else run.broker


def _faults(link: str, name: str) -> tuple[Fault, ...]:
    """Return the faults of the link to `name`."""

    def hole(where: str, *, to_server: bool, to_client: bool) -> Fault:
        inject = partial(black_holed, link, to_server=to_server, to_client=to_client)
        return Fault(f"link to {name} black-holed{where}", inject, duplicates=2 * REPEATED)

    return (
        Fault(f"link to {name} cut", partial(cut, link), duplicates=_CUTS * REPEATED),
        hole("", to_server=True, to_client=True),
        hole(f" towards {name}", to_server=True, to_client=False),
        hole(" towards the relay", to_server=False, to_client=True),
        Fault(f"link to {name} slow", partial(slow, link), duplicates=0),
        Fault(f"link to {name} sliced", partial(sliced, link), duplicates=0),
    )


FAULTS = (
    *_faults("postgres", "Postgres"),
    *_faults("broker", "RabbitMQ"),
    Fault("answers of a dead connection released late", answered_late, duplicates=REPEATED),
)
