"""The command `relay switch`: asks the active relay, on whatever host it runs, for the other source."""

import json
import time
from enum import StrEnum
from typing import Annotated, Any

import psycopg
import typer
from psycopg.rows import dict_row
from rich.status import Status

from outboxkit import sql
from outboxkit.errors import Problem
from outboxkit.process import commands
from outboxkit.settings import load
from relay.core.errors import SourceRefused
from relay.operating import outbox
from relay.operating.connection import connected
from relay.operating.display import err_console
from relay.operating.options import Config, Json
from relay.operating.slot import statements as slots
from relay.settings import RelaySettings
from relay.sources.preconditions import no_position, require_snapshot, require_state
from relay.sources.wal.ownership import require_position

_LOOK_EVERY = 0.25
_NOTED_WITHIN = 2.0
"""How many seconds after it changes its row a relay is given to note the change: that is for people, and may fail."""


class To(StrEnum):
    """What can be asked for."""

    WAL = "wal"
    POLLING = "polling"
    AUTO = "auto"


def switch(
    config: Config = None,
    *,
    to: Annotated[To, typer.Option("--to", help="wal, polling, or auto: as the relay finds best.")],
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait for the relay.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Let the active relay read the WAL, or poll the table, from now on, and wait until it does.

    Nothing is lost and nothing is published twice. The relay stays with that source, across restarts too, until
    `relay switch --to auto`. Ctrl-C ends the waiting, not the switch.

    Exit code 3 if it is stored, and no relay does it yet: none is active, or the active one needs longer than
    --timeout. The reason is printed to standard error. Exit code 1 if it is refused; then nothing is stored.
    """
    settings = load(RelaySettings, config)
    if settings.source != "auto":
        _fixed(settings, to, as_json=as_json)
        return
    with connected(settings, "switch") as connection:
        if to is To.POLLING:
            _require_polling(connection, settings)
        before = _row(connection, "switch_ask", {"relay": settings.name, "to": to.value})
        if before is None:
            raise no_position(settings.name)
        result = _wait(connection, settings, to, before, timeout)
    if as_json:
        typer.echo(json.dumps(result, default=str))
    else:
        _print(result, to)
    if not _does(result, to):
        commands.report(_late(settings, result, to, before["wanted"], timeout), name="relay")
        raise typer.Exit(commands.BAD_ANSWER)


def _fixed(settings: RelaySettings, to: To, *, as_json: bool) -> None:
    """Say that the relay reads nothing else; raises SourceRefused if something else is asked for."""
    source = settings.source
    if to != source:
        raise SourceRefused(
            f"RELAY_SOURCE is {source}: the relay reads nothing else; nothing was changed",
            remedy="set RELAY_SOURCE=auto, and start the relay again",
        )
    if as_json:  # null is unknown: no server was asked
        typer.echo(json.dumps({"mode": source, "making_slot": None, "wanted": None, "active": None, "changes": []}))
    else:
        typer.echo(f"RELAY_SOURCE is {source}: the relay reads that already, and nothing else; nothing was changed")


def _print(result: dict[str, Any], to: To) -> None:
    for change in result["changes"]:
        typer.echo(f"{change['at']}: from {change['from_mode']} to {change['to_mode']}, {change['detail']}")
    if _does(result, to):
        until = "" if to is To.AUTO else "; it stays so until `relay switch --to auto`"
        typer.echo(f"the relay reads {result['mode']}{until}")


def _require_polling(connection: psycopg.Connection[Any], settings: RelaySettings) -> None:
    """Raise a Problem if the relay could not poll: it would read the WAL on, and the request be in vain."""
    found = slots.facts(connection, settings)
    state = require_state(found, settings.name)
    require_position(found, settings.owner)  # else it is another table that is judged
    try:
        outbox.require_relay_can_poll(connection, settings)
        require_snapshot(state)
    except Problem as problem:
        raise SourceRefused(f"{problem.what}; nothing was changed", remedy=_remedy(problem, settings)) from problem


def _remedy(problem: Problem, settings: RelaySettings) -> str:
    if settings.table is None:
        return "none is needed: the relay reads the WAL, and nothing else has logical messages"
    return problem.remedy


def _wait(
    connection: psycopg.Connection[Any], settings: RelaySettings, to: To, before: dict[str, Any], timeout: float
) -> dict[str, Any]:
    """Return how far it is when an active relay does it, or after `timeout`; with the changes since `before`."""
    until, done = time.monotonic() + timeout, None
    with Status(f"waiting for the relay to read {to}", console=err_console()) as shown:
        while True:
            found = _row(connection, "switch_watch", {"relay": settings.name, "last": before["last"]})
            assert found is not None  # noqa: S101 - it was there
            now = time.monotonic()
            if _does(found, to):
                done = done or now
            noted = found["changes"] or found["mode"] == before["mode"]
            if now > until or (done is not None and (noted or now > done + _NOTED_WITHIN)):
                return found
            if not found["active"]:
                shown.update("no relay is active; waiting for one")
            elif found["making_slot"]:
                shown.update("a new slot is being made; it waits for the end of all open transactions")
            time.sleep(_LOOK_EVERY)


def _does(found: dict[str, Any], to: To) -> bool:
    """Return whether an active relay does what was asked for."""
    return bool(found["active"] and (to is To.AUTO or found["mode"] == to))


def _late(settings: RelaySettings, found: dict[str, Any], to: To, before: str, timeout: float) -> Problem:
    """Return why it is not done yet; `before` is what was asked for before."""
    back = "" if before == to else f"; `relay switch --to {before}` takes it back"
    asked = f"it was asked for {to}, and does that when it can{back}"
    if not found["active"]:
        return Problem(
            f"{to} is stored, and no relay {settings.name!r} is active",
            remedy=f"start one: the next that is active does what is stored{back}",
        )
    if found["making_slot"]:
        return Problem(
            f"a new slot is still being made after {timeout:g} s: it waits for the end of all open transactions",
            remedy=f"`relay check` and the relay's log name them; {asked}",
        )
    return Problem(f"the relay reads {found['mode']} after {timeout:g} s", remedy=f"the relay's log says why; {asked}")


def _row(connection: psycopg.Connection[Any], query: str, parameters: dict[str, object]) -> dict[str, Any] | None:
    return connection.cursor(row_factory=dict_row).execute(sql.query(query), parameters).fetchone()
