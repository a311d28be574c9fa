"""What `relay setup` makes only if it is asked for: the column tx, the trigger, and the position after pg_upgrade."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from relay.operating.setup import notify, tx_column, upgrade
from relay.settings import RelaySettings
from relay.storage.facts import TableFacts


@dataclass(frozen=True, slots=True)
class Extras:
    """What is made only if it is asked for."""

    add_tx_column: bool = False
    notify: bool = False
    accept_upgrade: bool = False


NOTHING = Extras()


def then(now: TableFacts, extras: Extras) -> TableFacts:
    """Return what the table will be when the extras are made."""
    return tx_column.added(now) if extras.add_tx_column and now.kind in {"r", "p"} else now


def make(connection: psycopg.Connection[Any], settings: RelaySettings, extras: Extras) -> Iterator[str]:
    """Make what is asked for, and yield a line for each step."""
    if extras.add_tx_column:
        yield from tx_column.run(connection, tx_column.steps(connection, settings))
    if extras.accept_upgrade:
        yield upgrade.accept(connection, settings)
    if extras.notify:
        made = notify.exists(connection, settings)
        for statement in [] if made else notify.statements(settings):
            connection.execute(statement)
        yield f"trigger: relay_notify on {settings.table} {'exists' if made else 'created'}; set RELAY_POLL_NOTIFY=true"


def plan(connection: psycopg.Connection[Any], settings: RelaySettings, extras: Extras) -> Iterator[str]:
    """Yield the SQL that `make` would run."""
    if extras.add_tx_column:
        todo = tx_column.steps(connection, settings)
        yield from map(str, todo)
        if any(step.forgets for step in todo):
            yield f"-- {tx_column.DUPLICATES}"
    if extras.notify and not notify.exists(connection, settings):
        yield from (f"{each.as_string(connection)};" for each in notify.statements(settings))
