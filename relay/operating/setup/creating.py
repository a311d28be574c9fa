"""Makes a replication slot, with the plugin that the server has."""

from contextlib import suppress
from typing import Any

import psycopg

from outboxkit import sql
from relay.operating.setup import publication
from relay.settings import RelaySettings
from relay.sources.wal.decoders import pgoutput, wal2json


def create(connection: psycopg.Connection[Any], settings: RelaySettings) -> str:
    """Create the slot and return its plugin: the configured one; with `auto`, wal2json if the server has it."""
    if settings.plugin in {"auto", wal2json.PLUGIN}:
        try:
            return _create_slot(connection, settings.slot, wal2json.PLUGIN)
        except (psycopg.errors.UndefinedFile, psycopg.errors.InsufficientPrivilege):
            if settings.plugin != "auto":
                raise
    # First the publication, then the slot: pgoutput reads the publication as it was at each change.
    publication.create(connection, settings)
    return _create_slot(connection, settings.slot, pgoutput.PLUGIN)


def _create_slot(connection: psycopg.Connection[Any], slot: str, plugin: str) -> str:
    with suppress(psycopg.errors.DuplicateObject):  # another setup, running at the same time
        connection.execute(sql.query("slot_create"), {"slot": slot, "plugin": plugin})
    return plugin
