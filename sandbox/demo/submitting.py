"""Submits tasks over HTTP, as an application does that knows neither Python nor Postgres.

A request that is not answered, or with 503, is sent again with its Idempotency-Key, until it is known which task it
made: so each submission is one task, whatever was killed meanwhile.
"""

import http.client
import json
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

from outboxkit.errors import Problem

_ANSWER_SECONDS = 30.0
_AGAIN_SECONDS = 0.5
_TURNS = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}
"""Statuses after which it is tried again."""


@dataclass(frozen=True)
class Kind:
    """A share of the tasks, of one type."""

    type: str
    share: float
    payload: object


def mixed(kinds: Sequence[Kind], tasks: int) -> list[Kind]:
    """Return the kind of each of `tasks` tasks, each kind spread evenly over all; the last one has the rest."""
    left, placed = tasks, []
    for kind in kinds:
        number = left if kind is kinds[-1] else min(left, max(1, round(tasks * kind.share)))
        left -= number
        placed += [((each + 0.5) / number, kind) for each in range(number)]
    return [kind for _, kind in sorted(placed, key=lambda place: place[0])]


class Submitting:
    """Submits `tasks` at `url` by `clients` connections, `rate` a second in all; leaving the block ends it."""

    def __init__(self, url: str, tasks: Sequence[Kind], *, rate: float = math.inf, clients: int = 8) -> None:
        self._address = urlsplit(url).netloc
        self._tasks = tasks
        self._rate = rate
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        self._lock = threading.Lock()
        self._next = 0
        self._began = self._ended = 0.0
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self._committed: list[str] = []

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def committed(self) -> list[str]:
        """The id of each task whose commit was answered, so far."""
        return list(self._committed)

    @property
    def per_second(self) -> float:
        """At which pace they were committed, from the first request to the last answer."""
        return len(self._committed) / (self._ended - self._began) if self._ended > self._began else 0.0

    def check(self) -> None:
        """Raise what no repetition would help against."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=_ANSWER_SECONDS)
        try:
            while (kind := self._take()) is not None:
                self._submit(connection, kind)
        except Exception as error:  # noqa: BLE001 - raised again by `check`
            self._failure = self._failure or error
        finally:
            connection.close()

    def _take(self) -> Kind | None:
        """Return the next task when it is due; None after the last one, or at the end."""
        with self._lock:
            place = self._next
            self._next += 1
        if place >= len(self._tasks):
            return None
        self._ending.wait(max(0.0, self._began + place / self._rate - time.monotonic()))
        return None if self._ending.is_set() else self._tasks[place]

    def _submit(self, connection: http.client.HTTPConnection, kind: Kind) -> None:
        key = str(uuid4())
        body = json.dumps({"type": kind.type, "payload": kind.payload})
        while (task := _post(connection, key, body)) is None:
            if self._ending.wait(_AGAIN_SECONDS):
                return
        with self._lock:
            self._committed.append(task)
            self._ended = time.monotonic()


def _post(connection: http.client.HTTPConnection, key: str, body: str) -> str | None:
    """Send one submission; return the task's id, or None if it is to be sent again."""
    try:
        connection.request("POST", "/tasks", body, {"Content-Type": "application/json", "Idempotency-Key": key})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException):  # nobody there, or a connection that ended: the next request opens one
        connection.close()
        return None
    if answer.status in _TURNS:
        return None
    if answer.status != HTTPStatus.CREATED:
        raise Problem(
            f"POST /tasks was answered with {answer.status}: {text.decode(errors='replace')[:500]}",
            remedy="see the log of the service",
        )
    return str(json.loads(text)["id"])
