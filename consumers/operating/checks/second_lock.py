"""The check of the second lock: its server takes a lock that no task has, and releases it."""

import asyncio

from consumers.operating.checks.module import Kinds
from consumers.second_lock.server import ServerAwayError
from consumers.settings import ConsumerSettings
from outboxkit.checks.finding import Verdict, fail, ok, warn
from outboxkit.errors import Problem

_SECONDS = 2.0


def checked(settings: ConsumerSettings, kinds: Kinds) -> Verdict:
    """Ask the server that CONSUMERS_LOCK names, and judge its answer."""
    facts = {"lock": settings.lock}
    if settings.lock == "none" or not kinds.tasks:
        return ok("CONSUMERS_LOCK is none" if kinds.tasks else "handlers of events have no second lock", **facts)
    try:
        asyncio.run(_ask(settings))
    except Problem as problem:
        return fail(problem.what, remedy=problem.remedy, **facts)
    except ServerAwayError as error:
        if error.refused:
            return fail(
                f"CONSUMERS_LOCK={settings.lock} cannot be used: {error}",
                remedy="correct CONSUMERS_REDIS_URL, or what its user may do (docs/second-lock.md), or set "
                "CONSUMERS_LOCK=none",
                **facts,
            )
        return warn(
            f"the server of CONSUMERS_LOCK={settings.lock} is away, and handlers run without a second lock: {error}",
            remedy="start it, and check its address; consumers ask it by themselves until it is back",
            **facts,
        )
    return ok(f"a lock of CONSUMERS_LOCK={settings.lock} was taken and released", **facts)


async def _ask(settings: ConsumerSettings) -> None:
    from consumers.composition import lock_server  # noqa: PLC0415 - much to load; no other command needs it

    server = lock_server(lambda: settings, settings.database_url.get_secret_value, name="consumers check")
    assert server is not None  # noqa: S101 - the caller has looked
    try:
        async with asyncio.timeout(_SECONDS):
            await server.probe()
    except TimeoutError as error:
        raise ServerAwayError(f"no answer within {_SECONDS:g} s") from error
    finally:
        await server.close()
