"""How long Postgres may take to answer a query. libpq has no limit of its own.

Cancelling psycopg's own wait does not help: psycopg asks the server to cancel as well, and waits for that, which takes
ten seconds more where the server does not answer. So the socket is shut down, and the query ends with an error at once.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from relay.core.errors import Unanswered

SECONDS = 10.0


@contextmanager
def deadline(connection: psycopg.AsyncConnection[Any], seconds: float = SECONDS) -> Iterator[None]:
    """Cut `connection` when the block takes longer than `seconds`; raises Unanswered then."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, hang_up, connection)
    try:
        yield
    except psycopg.Error as error:
        if loop.time() < timer.when():
            raise
        raise Unanswered(
            f"Postgres has not answered for {seconds:.0f} s", remedy="check the server and the network"
        ) from error
    finally:
        timer.cancel()


def hang_up(connection: psycopg.AsyncConnection[Any]) -> None:
    """Cut `connection`: a query that waits for its answer ends with an error."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as end:
        end.shutdown(socket.SHUT_RDWR)
