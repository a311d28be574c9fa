"""Structured logs on standard error: readable lines on a terminal, JSON lines otherwise."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from outboxkit.errors import Problem


def configure(*, verbose: bool = False) -> None:
    """Set up structlog for this process. A command calls it once, before the first log line."""
    terminal = sys.stderr.isatty()
    renderers: list[structlog.types.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    # They log every connection that is refused, closed or broken off, as text; our own log has it once, as JSON, with
    # the remedy.
    for library in ("pika", "psycopg", "uvicorn"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


@contextmanager
def bugs() -> Iterator[None]:
    """Log an exception that is no Problem, with its traceback, as one line, and end the process with exit code 1."""
    try:
        yield
    except Problem:
        raise
    except Exception as error:  # noqa: BLE001 - logged
        structlog.get_logger().critical(
            "bug",
            reason=f"{type(error).__name__}: {error}",
            remedy="start it again: nothing is lost; report this line, which has the traceback",
            exc_info=error,
        )
        sys.exit(1)
