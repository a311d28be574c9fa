"""Random histories on a real server: transactions that overlap, and what a replay makes of ranges between positions."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psycopg

from tests.integration.relay.operating.replay.replay_stage import History, write
from tests.integration.relay.stage import one

_STEPS = 120
_WRITERS = 5
_RANGES = 8


@dataclass
class Written:
    """An event, and the steps at which its transaction wrote first and was committed."""

    id: str
    began: int
    committed: int


@dataclass
class Writer:
    """A session whose transaction may have events."""

    connection: "psycopg.Connection[Any]"
    began: int = 0
    events: list[str] = field(default_factory=list)


def play(history: History, random: Random, stack: ExitStack) -> tuple[list[Written], dict[int, str]]:
    """Write, commit, roll back and note positions; return what was committed, and LSNs by their steps."""
    writers = [Writer(stack.enter_context(psycopg.connect(history.url))) for _ in range(_WRITERS)]
    written, positions = [], {0: history.note()}
    for step in range(1, _STEPS):
        writer = random.choice(writers)
        match random.choice(("write", "write", "commit", "rollback", "note")):
            case "write":
                writer.began = writer.began or step
                writer.events += write(writer.connection, *random.choices("abc", k=random.randint(1, 3)))
            case "commit":
                writer.connection.commit()
                written += [Written(event, writer.began, step) for event in writer.events]
                writer.began, writer.events = 0, []
            case "rollback":
                writer.connection.rollback()
                writer.began, writer.events = 0, []
            case "note":
                positions[step] = history.note()
    for writer in writers:
        writer.connection.rollback()
    return written, positions


def test_ranges_of_random_histories_are_exactly_what_was_committed_between_their_positions(
    history: History, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - a history, not a secret
    with ExitStack() as stack:
        written, positions = play(history, random, stack)
    order: list[str] = one(history.url, "SELECT array_agg(id::text ORDER BY seq) FROM outbox.event")
    assert sorted(order) == sorted(event.id for event in written)
    for _ in range(_RANGES):
        first, last = sorted(random.choices(list(positions), k=2))
        said = history.replay("--from-lsn", positions[first], "--to-lsn", positions[last], RELAY_POLL_BATCH="7")
        assert said.code == 0, said.output
        wanted = {event.id for event in written if event.committed > first and event.began < last}
        assert history.ids() == [event for event in order if event in wanted], (seed, first, last)
