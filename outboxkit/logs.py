"""Structured logs on standard error: readable lines on a terminal, JSON lines otherwise."""

import logging
import sys

import structlog


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
        cache_logger_on_first_use=True,
    )
    # pika logs every refused connection at ERROR; our own log has it once, with the remedy.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
