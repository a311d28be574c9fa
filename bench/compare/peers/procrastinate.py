"""Procrastinate as a peer: a table queue, which gets a job for each event by a trigger."""

from pathlib import Path

from bench.compare.peers.peer import Command, Peer
from bench.load.peers import installing
from outboxkit import sql


def _install(directory: Path) -> Command:
    words = (*installing.procrastinate(directory), "apply")
    return Command(words, {"BENCH_APPLY": sql.example("bench_compare_apply")})


PEER = Peer(
    "Procrastinate",
    installing.PROCRASTINATE,
    kind="table queue",
    about="A table queue: a trigger on the outbox defers a job for each event, in the writer's transaction, and the "
    "queue adds a row to its history at each change of a job. Its worker runs asynchronous jobs, a connection for "
    "each, is told of new jobs by NOTIFY, fetches one at a time, and keeps those that are done. No lock keeps the events of "
    "an aggregate in order. Jobs that ran when the worker was killed stay as they are until the periodic task that its "
    "documentation advises tries them again, after ten minutes or so: here they are counted as kept.",
    install=_install,
    script="bench_peer_procrastinate",
    aside="bench_peer_procrastinate_aside",
    settings={"concurrency": "30", "max_size": "31", "listen_notify": "true", "delete_jobs": "never"},
    ordered=False,
    slow=True,
)
