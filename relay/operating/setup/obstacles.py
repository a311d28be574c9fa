"""Who holds up setup, in words, and what ends that. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A session or a prepared transaction: a row of sql/queries/setup_obstacles.sql."""

    pid: int | None
    prepared: str | None
    database: str | None
    role: str | None
    application_name: str | None
    state: str | None
    """None, like `since`, if it is hidden from the connected role."""
    since: datetime | None
    waits: bool
    """Whether it is held up itself, so that it ends when the others have."""

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.prepared is None else f"prepared transaction {self.prepared!r}"
        facts = [f"user {self.role}", f"database {self.database}"]
        if self.application_name:
            facts.append(f"application {self.application_name!r}")
        since = "" if self.since is None else f" since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        facts.append(f"{self.state}{since}" if self.state else "state hidden from this role")
        return f"{who} ({', '.join(facts)})"

    @property
    def end(self) -> str:
        """The statement that ends it."""
        if self.prepared is None:
            return f"SELECT pg_terminate_backend({self.pid})"
        quoted = self.prepared.replace("'", "''")
        return f"in database {self.database}: ROLLBACK PREPARED '{quoted}'"


def named(obstacles: Sequence[Obstacle]) -> str:
    """Return all of them as text."""
    return ", and for ".join(map(str, obstacles))


def remedy(obstacles: Sequence[Obstacle]) -> str:
    """Return how to end those that the others wait for too."""
    roots = [each for each in obstacles if not each.waits] or obstacles
    ends = "; ".join(each.end for each in roots)
    return f"end what it waits for, as the same user or a superuser: {ends}; or wait longer with --timeout"
