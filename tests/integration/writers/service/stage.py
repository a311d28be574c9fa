"""A database with its roles, and instances of `writers serve` on it as real processes.

An instance connects as outbox_service, so every test is a test of that role's rights too.
"""

import http.client
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlencode

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from sandbox import Isolated
from tests.support.commands import ROOT, Command
from tests.support.urls import login

ROLES: LiteralString = (ROOT / "sql" / "roles.sql").read_text(encoding="utf-8")
PASSWORD = "of-the-service"
PROBLEM = "application/problem+json"
_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What an instance has answered."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @cached_property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.text)

    @property
    def slug(self) -> str:
        """Which problem it is; fails if it is none, or not as RFC 9457 wants it."""
        assert self.headers["content-type"] == PROBLEM, self
        assert self.json["status"] == self.status
        assert self.json["detail"]
        assert self.json["title"]
        return str(self.json["type"]).removeprefix("urn:outbox-relay:problem:")


class Instance:
    """One running `writers serve`."""

    def __init__(self, command: Command) -> None:
        self.command = command
        started = command.logged("serving")
        self.name: str = started["instance"]
        self.address: str = started["address"]

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that is not open yet."""
        return http.client.HTTPConnection(self.address, timeout=_SECONDS)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Answer:
        """Send one request on a connection of its own. A body of bytes is sent as it is, any other as JSON."""
        return self.send(method, path, body, headers=headers, **query)()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Callable[[], Answer]:
        """Send a request as `ask` does, and return what waits for its answer."""
        sent = dict(headers or {})
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        if query:
            path += "?" + urlencode(query, doseq=True)
        connection = self.connect()
        connection.request(method, path, body, sent)

        def answer() -> Answer:
            with closing(connection):
                found = connection.getresponse()
                return Answer(found.status, found.headers, found.read().decode())

        return answer

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, **query: object) -> Answer:
        return self.ask("GET", path, headers=headers, **query)

    def submit(self, task_type: str = "send", **fields: object) -> dict[str, Any]:
        """Submit a task, and return it; fails if it is refused."""
        answer = self.ask("POST", "/tasks", {"type": task_type, **fields})
        assert answer.status == 201, answer
        task: dict[str, Any] = answer.json
        return task


class Stage:
    """What a test has: rows, and instances, which end with the test."""

    def __init__(self, isolated: Isolated, directory: Path, stack: ExitStack) -> None:
        self.isolated = isolated
        self.database = stack.enter_context(psycopg.connect(isolated.database_url, autocommit=True))
        self._make_roles(stack)
        self.settings = {
            "WRITERS_DATABASE_URL": login(isolated.database_url, "outbox_service", PASSWORD),
            "WRITERS_HTTP_ADDRESS": "127.0.0.1:0",
            "WRITERS_POOL_SIZE": "10",
        }
        self._directory = directory
        self._stack = stack
        self._started = 0

    def serve(self, **settings: str) -> Instance:
        """Start `writers serve`, with WRITERS_ settings by their names in lower case, and return when it serves."""
        return Instance(self.start(**settings))

    def start(self, **settings: str) -> Command:
        """Start `writers serve`."""
        self._started += 1
        name = f"writers-{self._started}"
        changed = {f"WRITERS_{key.upper()}": value for key, value in {"instance": name, **settings}.items()}
        command = Command(name, ["writers", "serve"], {**self.settings, **changed}, self._directory)
        self._stack.callback(command.end)
        return command

    def allow_demo(self) -> None:
        """Give the service the rights of the locking demo."""
        self.database.execute("GRANT outbox_demo TO outbox_service")

    def reconnect(self) -> None:
        """Open the test's own session again, which ended with the server."""
        self.database = self._stack.enter_context(psycopg.connect(self.isolated.database_url, autocommit=True))

    def rows(self, statement: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what `statement` returns."""
        return self.database.execute(statement, parameters).fetchall()

    def _make_roles(self, stack: ExitStack) -> None:
        """Run sql/roles.sql; roles belong to the whole server, so those that it makes are dropped after the test."""
        known = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'outbox\\_%'"
        assert self.database.execute(known).fetchall() == [], "this server has these roles already"
        stack.callback(self._drop_roles)
        self.database.execute(ROLES)
        self.database.execute(SQL("ALTER ROLE outbox_service PASSWORD {}").format(Literal(PASSWORD)))

    def _drop_roles(self) -> None:
        with psycopg.connect(self.isolated.database_url, autocommit=True) as connection:
            roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'outbox\\_%'").fetchall()
            for (role,) in roles:
                connection.execute(SQL("DROP OWNED BY {} CASCADE").format(Identifier(role)))
                connection.execute(SQL("DROP ROLE {}").format(Identifier(role)))
