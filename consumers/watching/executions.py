"""The last executions of this consumer, in memory, and where they can be read: `/events`.

It is bounded, and it is no record: tasks.history has what became of each task. Nothing is written to a disk.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outboxkit.text import printable

KEPT = 1000
_SHOWN = 100
_LONGEST_ERROR = 500


@dataclass(frozen=True, slots=True)
class Execution:
    """How one delivery ended."""

    at: datetime
    """By this machine's clock."""
    task: str
    type: str
    attempt: int | None
    """None if no handler ran."""
    outcome: str
    """As the label of `consumers_tasks_total`."""
    seconds: float | None
    """How long the handler ran."""
    queue_wait: float | None
    """From the task's becoming pending to its claim, by the database's clock; None if nothing was claimed."""
    error: str | None
    """The first line."""


# Its time, task, type, outcome, attempt, seconds, queue wait and error.
_Noted: TypeAlias = tuple[float, str, str, str, int | None, float | None, float | None, str | None]


class Executions:
    """The last `kept` executions. Used on the loop only."""

    def __init__(self, *, kept: int = KEPT) -> None:
        self._last: deque[_Noted] = deque(maxlen=kept)

    def add(  # noqa: PLR0913 - the fields of an execution
        self,
        task_id: str,
        type_: str,
        outcome: str,
        *,
        attempt: int | None = None,
        seconds: float | None = None,
        queue_wait: float | None = None,
        error: str | None = None,
    ) -> None:
        """Take note of one; the oldest is forgotten when there are too many. It is made readable when somebody asks."""
        self._last.append((time.time(), task_id, type_, outcome, attempt, seconds, queue_wait, error))

    def last(self, limit: int, *, type_: str | None = None, outcome: str | None = None) -> list[Execution]:
        """Return at most `limit` executions, the newest first; only those of a type or an outcome, if given."""
        return list(islice(self._matching(type_, outcome), limit))

    def _matching(self, type_: str | None, outcome: str | None) -> Iterator[Execution]:
        for moment, task, its_type, ended, attempt, seconds, queue_wait, error in reversed(self._last):
            if type_ in {None, its_type} and outcome in {None, ended}:
                line = None if error is None else printable(error.strip().partition("\n")[0])[:_LONGEST_ERROR]
                at = datetime.fromtimestamp(moment, UTC)
                yield Execution(at, task, its_type, attempt, ended, seconds, queue_wait, line)


def events_route(executions: Executions) -> Route:
    """Serve the last executions at /events?limit=N&type=T&outcome=O as JSON, the newest first."""

    async def events(request: Request) -> Response:
        asked = request.query_params
        limit = asked.get("limit", str(_SHOWN))
        if not (limit.isascii() and limit.isdigit()):
            return JSONResponse({"error": "limit is not a number"}, status_code=400)
        if unknown := sorted(set(asked) - {"limit", "type", "outcome"}):
            return JSONResponse({"error": f"unknown: {', '.join(unknown)}"}, status_code=400)
        found = executions.last(min(int(limit), KEPT), type_=asked.get("type"), outcome=asked.get("outcome"))
        return JSONResponse([asdict(each) | {"at": each.at.isoformat()} for each in found])

    return Route("/events", events)
