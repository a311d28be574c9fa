"""Whether a run passed: the oracles, asked when the fault is over.

1. No loss: what was committed was seen by the tap or is parked; and nothing else was.
3. Order: first deliveries of an aggregate are in version order.
4. Safe acknowledgement: on the wire, nothing was reported as flushed before it was confirmed.
5. Liveness: from healing, what was committed is confirmed within a bound; descriptors and memory have not grown.
6. Duplicates are bounded, and reported.
7. No log contains a password; an orderly stop ends with exit code 0.

What only a server had that is gone (`Run.gone`) may have been published: it is neither lost nor out of order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from outboxkit.errors import Problem
from sandbox.machine.waiting import until
from tests.faults.run import Fault, Footprint, Run
from tests.support import oracles
from tests.support.commands import Command
from tests.support.oracles import Delivery

_PARKED = "SELECT id, redriven_at IS NULL AND discarded_at IS NULL FROM relay.parked"
_SHRINK_SECONDS = 15.0
_MORE_DESCRIPTORS = 2
_SHOWN = 3


@dataclass(frozen=True)
class Verdict:
    """What was counted on one run; `broken` is empty when it passed."""

    committed: int
    applied: int
    """Seen by the tap or parked."""
    duplicates: int
    lost: int
    recovered: float | None
    """Seconds from healing; None if it did not recover in time."""
    stood_still: float | None
    """The most seconds without a confirm; None if it was not measured."""
    broken: tuple[str, ...]


def judge(run: Run, fault: Fault) -> Verdict:
    """Wait for the recovery, stop the load and the relays, and ask every oracle."""
    broken: list[str] = []
    recovered = run.recovery().seconds(within=fault.recovers_within)
    run.stop_load()
    if recovered is None:
        broken.append(f"not recovered within {fault.recovers_within:g} s")
    else:
        run.stage.confirmed()
        for relay in run.relays:
            broken += grown(run, relay, by=fault.growth)
    for relay in run.relays:
        if (code := relay.terminate()) != 0:
            broken.append(f"{relay.name} ended with exit code {code}, not 0, after SIGTERM")
    broken += _leaked_secrets(run)

    committed = [event for event in map(str, run.committed()) if event not in run.gone]
    deliveries = run.taken + (run.tap.drain() if run.tap.waiting() else [])
    parked = dict(run.stage.query(_PARKED))
    found = {delivery.message for delivery in deliveries} | {event for event, waits in parked.items() if waits}
    lost = oracles.lost(committed, found)
    duplicates = oracles.duplicates(deliveries)
    broken += _culprits("lost", lost)
    broken += _culprits("published and never committed", oracles.ghosts([*committed, *run.gone], found))
    broken += _culprits("out of order", map(str, oracles.out_of_order(_lasting(run, deliveries))))
    broken += run.acknowledgement.violations(besides=parked.keys() | run.gone)[:_SHOWN]
    if not run.acknowledgement.covered:
        broken.append("nothing was flushed, so nothing was tested")
    if duplicates > fault.duplicates:
        broken.append(f"{duplicates} duplicates, and at most {fault.duplicates} are allowed")
    if not committed:
        broken.append("nothing was committed, so nothing was tested")
    return Verdict(
        committed=len(committed),
        applied=len(found & {*committed}),
        duplicates=duplicates,
        lost=len(lost),
        recovered=recovered,
        stood_still=run.stood_still,
        broken=tuple(broken),
    )


def grown(run: Run, relay: Command, *, by: int) -> list[str]:
    """Return a line if `relay` has more descriptors than usual, or had `by` bytes more resident than usual."""
    usual = run.usual(relay)
    if usual is None:
        return []
    most = Footprint(usual.descriptors + _MORE_DESCRIPTORS, usual.peak + by)
    try:
        until(lambda: _within(Footprint.of(relay), most), what="it shrinks", seconds=_SHRINK_SECONDS)
    except Problem:
        return [f"{relay.name} has grown from {usual} to {Footprint.of(relay)}"]
    return []


def _within(found: Footprint, most: Footprint) -> bool:
    return found.descriptors <= most.descriptors and found.peak <= most.peak


def _lasting(run: Run, deliveries: Iterable[Delivery]) -> Iterator[Delivery]:
    """Yield the deliveries of events that the database has: others may have had the same versions before."""
    return (delivery for delivery in deliveries if delivery.message not in run.gone)


def _leaked_secrets(run: Run) -> list[str]:
    return [
        f"the output of {command.name} contains a password"
        for command in run.stage.commands
        if any(secret in command.stdout + command.stderr for secret in run.secrets)
    ]


def _culprits(what: str, found: Iterable[str]) -> list[str]:
    culprits = sorted(found)
    return [f"{len(culprits)} {what}: {', '.join(culprits[:_SHOWN])}"] if culprits else []
