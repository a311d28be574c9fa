"""The end of the process: what handlers leave behind does not keep it.

Python waits at its end for threads that are not daemons, for executors and for child processes of `multiprocessing`. A
handler may leave any of them, and none of them has to do with a task any more.
"""

import multiprocessing
import os
import sys
import threading

import structlog

log = structlog.get_logger()


def end_within(seconds: float, *, code: int) -> None:
    """End the process with `code` if it still is there after `seconds`, and name what keeps it."""
    threading.Thread(target=_end, args=(seconds, code), name="ending", daemon=True).start()


def _end(seconds: float, code: int) -> None:
    threading.Event().wait(seconds)
    kept_by = [thread.name for thread in threading.enumerate() if _keeps(thread)]
    children = [child.name for child in multiprocessing.active_children()]
    try:
        log.warning(
            "the process ends without what handlers left",
            threads=kept_by,
            children=children,
            remedy="let handlers end the threads and processes that they start, or make them daemons",
        )
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:  # also if they are closed
        os._exit(code)


def _keeps(thread: threading.Thread) -> bool:
    return not thread.daemon and thread is not threading.main_thread()
