"""The service as a client sees it, over HTTP: each request has a connection of its own, which a balancer deals out."""

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple, TypeAlias, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ValidationError

from outboxkit.errors import ConfigurationProblem, Problem
from writers.demo_type import DEMO_TYPE

_SECONDS = 30.0
_BUSY = ":overloaded"
"""How the type of that problem ends. After any other one, it is not known whether a task was grabbed."""
_PAGE = 500

B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True)
class Taken:
    """A task that one request has grabbed and completed; `seconds` until the answer."""

    id: str
    number: int | None
    instance: str
    seconds: float


@dataclass(frozen=True)
class NoneLeft:
    """The answer that no task is left."""

    instance: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A request without such an answer: whether it has grabbed a task is not known."""

    reason: str
    seconds: float


Outcome: TypeAlias = Taken | NoneLeft | Failed


class Holder(BaseModel):
    """Who has locked a task's row."""

    instance: str


class Result(BaseModel):
    """What a completed task of the demo says of itself."""

    grabbed_by: str


class Task(BaseModel):
    """A task of the demo, as GET /tasks shows it."""

    id: str
    status: str
    attempts: int
    created_at: datetime
    result: Result | None = None
    locked_by: Holder | None = None


class _Page(BaseModel):
    tasks: list[Task]
    next: str | None


class _Grabbed(BaseModel):
    id: str
    number: int | None
    instance: str


class _Created(BaseModel):
    created: int


class _Reset(BaseModel):
    held: int


class _About(BaseModel):
    instance: str


class _Details(BaseModel):
    """A problem (RFC 9457)."""

    type: str = ""
    detail: str


class Refused(Problem):
    """The service answers, and not as it should."""


class Unreachable(Problem):
    """There is no answer."""


class _Answer(NamedTuple):
    status: int
    instance: str
    retry_after: str
    body: bytes

    @property
    def reason(self) -> str:
        """What the problem is, or at least the status: a balancer's answer is HTML."""
        if (details := self._details()) is not None:
            return f"{self.status}: {details.detail}"
        return f"{self.status} {http.client.responses.get(self.status, '')}".strip()

    @property
    def busy(self) -> bool:
        """Whether the instance has not begun, since it has no session left, and says when to ask again."""
        details = self._details()
        return self.retry_after.isdigit() and details is not None and details.type.endswith(_BUSY)

    def _details(self) -> _Details | None:
        with contextlib.suppress(ValidationError):
            return _Details.model_validate_json(self.body)
        return None


class Service:
    """The service at `url`, which may be a balancer's; `token` is its bearer token, if it has one.

    Every method but `grab` raises Refused or Unreachable.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self.url = url
        try:
            place = urlsplit(url)
            port = place.port
        except ValueError as error:
            raise _no_url(url) from error
        if place.scheme not in {"http", "https"} or not place.hostname or place.query or place.fragment:
            raise _no_url(url)
        self._secure = place.scheme == "https"
        self._host, self._port = place.hostname, port
        self._path = place.path.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def instance(self) -> str:
        """Return the name of the instance that answers."""
        return self._get(_About, "GET", "/").instance

    def reset(self) -> int:
        """Remove the demo's tasks, and return how many stay because they are grabbed at this moment."""
        return self._get(_Reset, "DELETE", "/reset-tasks").held

    def create(self, count: int) -> int:
        """Make tasks, and return how many were made."""
        return self._get(_Created, "POST", f"/create-tasks?count={count}").created

    def tasks(self, **filters: str) -> list[Task]:
        """Return the demo's tasks, the oldest first."""
        found: list[Task] = []
        query = {"type": DEMO_TYPE, "limit": str(_PAGE), **filters}
        while True:
            page = self._get(_Page, "GET", f"/tasks?{urlencode(query)}")
            found += page.tasks
            if page.next is None:
                return found[::-1]
            query["cursor"] = page.next

    def grab(
        self, seconds: float, *, skip_locked: bool, answered_within: float, sent: Callable[[], None] = lambda: None
    ) -> Outcome:
        """Grab a task. `sent` is called when the request has been sent, or could not be.

        An instance that has no session left says when to ask again, and is asked again until `answered_within` is over.
        """
        began = time.perf_counter()
        query = urlencode({"seconds": f"{seconds:g}", "skip_locked": str(skip_locked).lower()})
        while True:
            try:
                answer = self._ask("POST", f"/grab-task?{query}", timeout=answered_within, sent=sent)
                taken = time.perf_counter() - began
                if answer.status == HTTPStatus.OK:
                    grabbed = _read(_Grabbed, answer, self.url)
                    return Taken(grabbed.id, grabbed.number, grabbed.instance, taken)
            except Problem as problem:
                return Failed(problem.what, time.perf_counter() - began)
            if answer.status == HTTPStatus.NOT_FOUND:
                return NoneLeft(answer.instance, taken)
            if not answer.busy or taken > answered_within:
                return Failed(answer.reason, taken)
            time.sleep(int(answer.retry_after))

    def _get(self, body: type[B], method: str, path: str) -> B:
        answer = self._ask(method, path, timeout=_SECONDS)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise Refused(
                f"{self.url} answers {method} {path.partition('?')[0]} with {answer.reason}", remedy=_remedy(answer)
            )
        return _read(body, answer, self.url)

    def _ask(self, method: str, path: str, *, timeout: float, sent: Callable[[], None] = lambda: None) -> _Answer:
        try:
            with self._connected(timeout) as connection:
                connection.request(method, self._path + path, headers=self._headers)
                sent()
                answer = connection.getresponse()
                instance, retry_after = answer.getheader("X-Instance", "unknown"), answer.getheader("Retry-After", "")
                return _Answer(answer.status, instance, retry_after, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"{self.url} gives no answer: {_words(error)}",
                remedy="check that the service runs, and that --url names it",
            ) from error

    @contextlib.contextmanager
    def _connected(self, timeout: float) -> Iterator[http.client.HTTPConnection]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        with contextlib.closing(kind(self._host, self._port, timeout=timeout)) as connection:
            yield connection


def _read(body: type[B], answer: _Answer, url: str) -> B:
    try:
        return body.model_validate_json(answer.body)
    except ValidationError as error:
        raise Refused(
            f"{url} does not answer as `writers serve` does", remedy="check that --url names that service"
        ) from error


def _remedy(answer: _Answer) -> str:
    match answer.status:
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            return "start its instances with WRITERS_DEMO=true, which makes them serve the locking demo"
        case HTTPStatus.UNAUTHORIZED:
            return "set WRITERS_TOKEN or WRITERS_TOKEN_FILE to its token"
        case _:
            return "see the instance's log"


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _no_url(url: str) -> Problem:
    return ConfigurationProblem(f"--url {url!r} is no address of a service", remedy="write http://host:port")
