"""Sessions and prepared transactions that hold up others, in words, and what ends them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A session or a prepared transaction: a row of setup_obstacles.sql or check_transactions.sql in sql/queries."""

    pid: int | None
    prepared: str | None
    database: str | None
    role: str | None
    application_name: str | None
    state: str | None
    """None, like `since` and `seconds`, if it is hidden from the connected role."""
    since: datetime | None
    """When its transaction began."""
    seconds: float | None
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


def ends(obstacles: Sequence[Obstacle]) -> str:
    """Return the statements that end those that the others wait for too."""
    roots = [each for each in obstacles if not each.waits] or obstacles
    return "; ".join(each.end for each in roots)
