"""The relay's own process: killed."""

from tests.faults.run import REPEATED, Fault, Run

_KILLS = 10


def killed_at_random(run: Run) -> None:
    """Kill it ten times: while it starts, or in the midst of work."""
    for _ in range(_KILLS):
        relay = run.start_relay()
        if run.draw.random() < 0.8:
            relay.logged("streaming")
        assert relay.outlives(run.draw.uniform(0, 0.8)), relay.tail()
        relay.kill()
    run.healed()
    run.streaming_relay()


FAULTS = (Fault("relay killed at random", killed_at_random, duplicates=_KILLS * REPEATED),)
