"""Why there is no session: asked of a server that answers, and of one that does not."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import psycopg

from outboxkit.login import Refusal, refusal
from sandbox import Isolated

_SERVER_SECONDS = 2
_LOST = psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")


def test_a_session_that_was_lost_is_no_login_that_is_refused(isolated: Isolated) -> None:
    assert refusal(_LOST, isolated.database_url) is Refusal.PASSED


def test_nothing_in_this_process_waits_for_a_server_that_accepts_connections_and_does_not_answer() -> None:
    """As one that is stopping at once, or behind a link that swallows everything; libpq waits for it with the GIL."""
    with socket.create_server(("127.0.0.1", 0)) as deaf, ThreadPoolExecutor(1) as thread:
        place = f"postgresql://u:p@127.0.0.1:{deaf.getsockname()[1]}/d?connect_timeout={_SERVER_SECONDS}"
        asked, ticks = thread.submit(refusal, _LOST, place), [time.monotonic()]
        while not asked.done():
            time.sleep(0.01)
            ticks.append(time.monotonic())
    assert asked.result() is Refusal.UNREACHABLE
    assert ticks[-1] - ticks[0] >= _SERVER_SECONDS
    assert max(after - before for before, after in pairwise(ticks)) < 1
