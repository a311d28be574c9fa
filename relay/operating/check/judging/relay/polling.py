"""Checks of what polling needs: the table, its column tx, and a session of its own. Pure.

Of a relay that may poll (RELAY_SOURCE=auto), what it lacks for that is a warning: it has the WAL.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from outboxkit.checks.finding import Check, Status, Verdict, fail, ok, unknown, warn
from outboxkit.errors import Problem
from relay.operating.check.judging.not_needed import NOT_NEEDED
from relay.operating.names import quoted, quoted_table
from relay.sources import tables
from relay.sources.layout import Layout
from relay.sources.polling.skip_locked.statements import require_key
from relay.sources.polling.statements import DEFAULT, has_tx, require_tx
from relay.storage.facts import TableFacts


@dataclass(frozen=True, slots=True)
class Polling:
    """What the server says of the outbox as a table to poll; all from `tx_default` on is of check_polling.sql."""

    source: Literal["auto", "wal", "polling"]
    strategy: Literal["snapshot", "skip_locked"]
    notify: bool
    """RELAY_POLL_NOTIFY."""
    layout: Layout | None
    """None if the outbox is logical messages."""
    facts: TableFacts
    role: str
    pooled: bool
    tx_default: str | None
    unindexed: Sequence[str]
    writers: Sequence[str]
    writable: Sequence[str]
    notifies: bool

    @property
    def table(self) -> str:
        """The table as it is written in SQL."""
        return quoted_table("" if self.layout is None else self.layout.name)


def table(found: Polling) -> Verdict:
    """Judge whether the rows of the table can be polled: its columns, its kind, and the type of tx."""
    if found.layout is None:
        return fail(
            "an outbox of logical messages has no table to poll",
            remedy="set RELAY_SOURCE=wal, or name a table with RELAY_OUTBOX_TABLE instead of RELAY_MESSAGE_PREFIX",
        )
    try:
        tables.check_rows(found.facts, found.layout)
        if found.strategy == "snapshot":
            require_tx(found.layout, found.facts)
        else:
            require_key(found.layout, found.facts)
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, table=found.layout.name)
    return ok(f"{found.layout.name} can be polled", table=found.layout.name)


def tx_default(found: Polling) -> Verdict:
    """Judge whether each new row gets the id of its transaction: one without is never polled."""
    if not has_tx(found.facts):
        if found.strategy == "skip_locked" and found.facts.kind is not None:
            return ok("not needed: RELAY_POLL_STRATEGY is skip_locked, and the table has no column tx")
        return unknown("unknown: there is no column tx of type xid8", remedy="see polling.table")
    if found.tx_default == DEFAULT:
        return ok("each row gets the id of its transaction", default=found.tx_default)
    return fail(
        f"tx of {found.table} has {found.tx_default or 'no'} default: a poll cannot tell which rows are new",
        remedy=f"ALTER TABLE {found.table} ALTER COLUMN tx SET DEFAULT {DEFAULT}",
        default=found.tx_default,
    )


def tx_index(found: Polling) -> Verdict:
    """Judge whether a poll finds new rows by an index, and not by reading all of them."""
    facts = {"unindexed": list(found.unindexed)}
    if not found.unindexed:
        return ok("an index finds the rows of a transaction", **facts)
    return warn(
        f"no usable index begins with tx on {', '.join(found.unindexed)}: each poll reads every row",
        remedy="as the table's owner, run `relay setup --add-tx-column`: writers go on meanwhile",
        **facts,
    )


def tx_writers(found: Polling) -> Verdict:
    """Judge whether anybody may write another transaction's id into tx: such a row may never be polled, or twice."""
    facts = {"writers": list(found.writers)}
    if not found.writers:
        return ok("nobody but its owner may choose tx", **facts)
    columns = ", ".join(map(quoted, found.writable))
    roles = ", ".join("PUBLIC" if each == "public" else quoted(each) for each in found.writers)
    return warn(
        f"these roles may insert any value as tx: {', '.join(found.writers)}",
        remedy=f"REVOKE INSERT ON {found.table} FROM {roles}; GRANT INSERT ({columns}) ON {found.table} TO {roles}",
        **facts,
    )


def row_security(found: Polling) -> Verdict:
    """Judge whether a poll sees every row: with row-level security in force for its role, it is refused."""
    if not found.facts.hidden:
        return ok("no row is hidden from the relay")
    return fail(
        f"row-level security hides rows of {found.table} from role {found.role}: a poll is refused",
        remedy=f"as a superuser: ALTER ROLE {quoted(found.role)} BYPASSRLS; or, as the table's owner: ALTER TABLE "
        f"{found.table} DISABLE ROW LEVEL SECURITY",
    )


def session(found: Polling) -> Verdict:
    """Judge whether the lock of the active relay ends with the relay: a pooler would keep its session."""
    if not found.pooled:
        return ok("the lock of the active relay is on a session of its own")
    return fail(
        "a connection pooler would keep the lock of the active relay when that has vanished",
        remedy="set RELAY_DATABASE_URL to Postgres itself",
    )


def notify(found: Polling) -> Verdict:
    """Judge whether writers wake the relay, if that is asked for."""
    facts = {"trigger": found.notifies, "listens": found.notify}
    if found.notify and not found.notifies:
        return warn(
            f"RELAY_POLL_NOTIFY is on, and no trigger on {found.table} wakes the relay: it polls at its interval",
            remedy="as the table's owner, run `relay setup --notify`",
            **facts,
        )
    return ok("writers wake the relay" if found.notify else "the relay polls at its interval", **facts)


def _if_polled(judge: Callable[[Polling], Verdict]) -> Callable[[Polling], Verdict]:
    """Return `judge` as it counts for a relay that only polls, may poll, or never does."""

    def judged(found: Polling) -> Verdict:
        if found.source == "wal":
            return ok(NOT_NEEDED.format("wal"))
        if found.layout is None and judge is not table:
            return ok("not needed: the outbox is logical messages")
        verdict = judge(found)
        if found.source == "auto" and verdict.status is Status.FAIL:
            return replace(verdict, status=Status.WARN, summary=f"the WAL is all there is: {verdict.summary}")
        return verdict

    return judged


CHECKS = (
    Check("polling.table", _if_polled(table)),
    Check("polling.tx_default", _if_polled(tx_default)),
    Check("polling.tx_index", _if_polled(tx_index)),
    Check("polling.tx_writers", _if_polled(tx_writers)),
    Check("polling.row_security", _if_polled(row_security)),
    Check("polling.session", _if_polled(session)),
    Check("polling.notify", _if_polled(notify)),
)
