"""Structured logs on standard error: for people on a terminal, as JSON lines everywhere else."""

import logging
import sys

import structlog


def configure(*, verbose: bool = False) -> None:
    """Set up structlog for this process. Call it once, from a command, before the first line is logged."""
    people = sys.stderr.isatty()
    renderers: list[structlog.types.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if people
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
    # pika reports every refused connection at ERROR by itself; ours tell the same once, with the remedy.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
