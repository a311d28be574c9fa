"""Handlers for `consumers run` as a process: they append to the table of stage.py, with their process' id."""

import os
from typing import Any

import psycopg

from consumers import Event, on
from tests.integration.consumers.events.stage import INSERT, row


@on("order.*")
def in_threads(event: Event, connection: psycopg.Connection[Any]) -> None:
    """Append one row."""
    connection.execute(INSERT, row("in_threads", event, str(os.getpid())))


@on("order.*", by="version")
async def on_the_loop(event: Event, connection: psycopg.AsyncConnection[Any]) -> None:
    """Append one row."""
    await connection.execute(INSERT, row("on_the_loop", event, str(os.getpid())))
