"""The check of how many sessions a consumer has at most, and whether server and role have room for them. Pure."""

from collections.abc import Iterator

from consumers.operating.checks.module import Kinds
from consumers.operating.checks.server import Server
from consumers.settings import ConsumerSettings
from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn

_FIXED = 5
"""Claims, leases, outcomes, locks, jobs."""


def most(settings: ConsumerSettings, kinds: Kinds) -> int:
    """Return how many sessions a consumer has at most.

    A handler that was given up at its deadline may keep its session, and its second lock, while another runs in its
    place: so each kind of handlers for tasks has twice CONSUMERS_CONCURRENCY. Any of them may need a session, since one
    that is in no transaction may leave tasks or events. Handlers of events are not given up.
    """
    of_tasks = 2 * settings.concurrency * (kinds.threads + kinds.loop)
    locks = of_tasks if settings.lock == "advisory" else 0
    of_events = settings.concurrency * (kinds.event_threads + kinds.event_loop)
    return _FIXED + of_tasks + locks + (1 + of_events if kinds.events else 0)


def sessions(server: Server) -> Verdict:
    """Judge whether the sessions of one more consumer are available."""
    limit = int(server.settings.get("max_connections", "0"))
    kept = sum(
        int(server.settings.get(name, "0")) for name in ("superuser_reserved_connections", "reserved_connections")
    )
    facts = {
        "needed": server.most,
        "max_connections": limit,
        "used": server.sessions,
        "role_limit": server.role_limit,
        "role_used": server.role_sessions,
    }
    what = f"a consumer with these settings and handlers has up to {server.most} sessions"
    if server.pooled:
        return unknown(
            f"{what}; how many the pooler lets through is unknown",
            remedy="let max_client_conn of the pooler allow as many for each consumer",
            **facts,
        )
    lower = "lower CONSUMERS_CONCURRENCY, or use a pooler"
    raised = f"raise max_connections and restart Postgres, {lower}"
    given = (
        f'ALTER ROLE "{server.role}" CONNECTION LIMIT {server.most * 2} or more: {server.most} for each consumer that '
        "may run at the same time"
    )
    rooms = [("the server", limit - kept, server.sessions, raised)]
    if server.role_limit >= 0:
        rooms.insert(0, (f"role {server.role}", server.role_limit, server.role_sessions, given))
    return next(_lacking(what, server.most, rooms, facts), ok(what, **facts))


def _lacking(
    what: str, needed: int, rooms: list[tuple[str, int, int, str]], facts: dict[str, int]
) -> Iterator[Verdict]:
    """Yield what lacks room: first what never has it, then what has none now."""
    for who, limit, _, remedy in rooms:
        if limit < needed:
            yield fail(f"{what}; {who} may have {limit}", remedy=remedy, **facts)
    for who, limit, used, remedy in rooms:
        free = max(limit - used + 1, 0)  # this check's own session ends
        if free < needed:
            yield warn(
                f"{what}; {who} may have {limit}, and {free} are free now",
                remedy=f"if no consumer runs yet: {remedy}",
                **facts,
            )


CHECKS = (Check("postgres.sessions", sessions),)
