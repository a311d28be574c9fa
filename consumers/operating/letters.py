"""What the messages of a dead-letter queue are worth: each with its task, and whether that still waits for it.

Of the dead-letter queue of events it is only said which are events; no database is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import psycopg

from consumers.events.declaring.event import Message, decode, time
from consumers.operating.connection import connected
from consumers.settings import ConsumerSettings
from outboxkit import sql
from outboxkit.amqp.consuming.dead_letters import DeadLetters, Letter
from outboxkit.amqp.format import ALPHANUMERIC, NAMES, TaskReference, UndecodableMessage, task_reference

State: TypeAlias = Literal["waits", "stale", "event", "undecodable"]
BATCH = 100


@dataclass(frozen=True, slots=True)
class Judged:
    """A message, and its task."""

    letter: Letter
    state: State
    """waits: its task is pending at its version; stale: the task has gone on, or is not there; event: none of a task;
    undecodable: neither."""
    task: TaskReference | None
    about: str
    """The task's type and status, the event's key and aggregate, or why the message cannot be decoded."""

    def as_json(self) -> dict[str, object]:
        """Return it as `consumers dlq list --json` prints it."""
        died_at = self.letter.died_at
        return {
            "message_id": self.letter.message_id,
            "task": self.task and self.task.task_id,
            "version": self.task and self.task.version,
            "state": self.state,
            "about": self.about,
            "reason": self.letter.reason,
            "died_at": died_at,
            "age_seconds": died_at and round((datetime.now(UTC) - died_at).total_seconds()),
            "deliveries": self.letter.deliveries,
        }


async def take(letters: DeadLetters, limit: int, *, moves: bool) -> list[Letter]:
    """Take at most `limit` messages. For a look they are renewed here; who `moves` them renews what is left."""
    taken: list[Letter] = []
    while len(taken) < limit and (letter := await letters.take()) is not None:
        taken.append(letter)
        if not moves:
            await letters.renew()
    return taken


def judge(settings: ConsumerSettings, letters: Sequence[Letter]) -> list[Judged]:
    """Ask the database about the tasks of `letters`."""
    references: list[TaskReference | str] = []
    for letter in letters:
        try:
            references.append(task_reference(letter.headers))
        except UndecodableMessage as error:
            references.append(str(error))
    ids = [each.task_id for each in references if isinstance(each, TaskReference)]
    tasks: dict[str, tuple[Any, ...]] = {}
    if ids:
        with connected(settings, "dlq") as connection:
            tasks = {str(row[0]): row[1:] for row in _rows(connection, ids)}
    return [_judged(*each, tasks) for each in zip(letters, references, strict=True)]


def judge_events(letters: Sequence[Letter]) -> list[Judged]:
    """Say which of `letters` are events."""
    return [_judged_event(letter) for letter in letters]


def _judged_event(letter: Letter) -> Judged:
    properties = letter.properties
    key, at = letter.routing_key or "", time(properties.timestamp)
    try:
        event = decode(Message(letter.message_id, properties.type, key, at, letter.headers, letter.body))
    except UndecodableMessage as error:
        return Judged(letter, "undecodable", None, str(error))
    about = f"{key or event.type}: {event.aggregate_type} {event.aggregate_id}, version {event.aggregate_version}"
    return Judged(letter, "event", None, about)


def _rows(connection: psycopg.Connection[Any], ids: Sequence[object]) -> list[tuple[Any, ...]]:
    return connection.execute(sql.query("dlq_tasks"), {"ids": list(ids)}).fetchall()


def _judged(letter: Letter, reference: TaskReference | str, tasks: dict[str, tuple[Any, ...]]) -> Judged:
    if isinstance(reference, str):
        return Judged(letter, "event" if _is_other(letter.headers) else "undecodable", None, reference)
    type_, status, version = tasks.get(reference.task_id, ("", "not there", 0))
    waits = status == "pending" and version == reference.version
    return Judged(letter, "waits" if waits else "stale", reference, f"{type_} {status}".strip())


def _is_other(headers: Mapping[str, object]) -> bool:
    """Return whether a message is of an aggregate that is no task: an event of somebody, and not ours to remove."""
    kinds = [headers.get(names.aggregate_type) for names in (NAMES, ALPHANUMERIC)]
    return any(isinstance(kind, str) and kind not in {"", "task"} for kind in kinds)
