"""The check of open transactions. Pure."""

from outboxkit.checks.finding import Check, Verdict, fail, ok, unknown, warn
from relay.operating.check.judging.postgres.server import Server
from relay.storage.slots.obstacles import ends

_LONG_SECONDS = 30.0
_SHOWN = 5


def long_transactions(server: Server) -> Verdict:
    """Judge whether open transactions block the creation of a slot, or make a slot retain WAL."""
    probe = server.probe(server.plugin)
    blocked = probe is not None and probe.blocked
    old = [each for each in server.transactions if (each.seconds or 0) >= _LONG_SECONDS]
    shown = [*old, *(each for each in server.transactions if blocked and each not in old)]
    facts = {"pids": [each.pid or each.prepared for each in shown], "blocked": blocked}
    named = "; ".join(map(str, shown[:_SHOWN])) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
    remedy = f"end them, as the same user or a superuser: {ends(shown[:_SHOWN])}"
    if blocked and not server.slot_exists:
        return fail(f"a slot cannot be created until these transactions end: {named}", remedy=remedy, **facts)
    if shown:
        return warn(
            f"a new slot waits for long transactions, and an existing slot retains WAL: {named}",
            remedy=remedy,
            **facts,
        )
    if (probe is None or probe.sqlstate) and any(each.seconds is None for each in server.transactions):
        return unknown(
            "the age of open transactions is hidden from this role, and no slot was tried",
            remedy="see postgres.plugin_works; or look at xact_start in pg_stat_activity as a superuser",
            **facts,
        )
    return ok("no transaction is open for long", **facts)


CHECKS = (Check("postgres.long_transactions", long_transactions),)
