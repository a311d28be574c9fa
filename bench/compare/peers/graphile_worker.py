"""graphile-worker as a peer: a table queue, which gets a job for each event by a trigger."""

from pathlib import Path

from bench.compare.peers.peer import Command, Peer
from bench.load.peers import installing
from outboxkit import sql


def _install(directory: Path) -> Command:
    words = (*installing.graphile_worker(directory), "apply")
    return Command(words, {**installing.ENVIRONMENT, "BENCH_APPLY": sql.example("bench_compare_apply")})


PEER = Peer(
    "graphile-worker",
    installing.GRAPHILE_WORKER,
    kind="table queue",
    about="A table queue: a trigger on the outbox adds a job for each event, in the writer's transaction. Its worker "
    "runs with the settings of its own performance test: it fetches up to 500 jobs at once, and deletes those that are "
    "done, in batches. No named queue keeps the events of an aggregate in order. The jobs that a worker had fetched "
    "when it was killed stay locked for four hours, unless an operator unlocks them: here they are counted as kept.",
    install=_install,
    script="bench_peer_graphile_worker",
    aside="bench_peer_graphile_worker_aside",
    settings={
        "concurrentJobs": "24",
        "maxPoolSize": "28",
        "localQueue.size": "500",
        "localQueue.refetchDelay.durationMs": "10",
        "completeJobBatchDelay": "0",
        "failJobBatchDelay": "0",
    },
    ordered=False,
)
