"""The writers' settings, read from the environment or a TOML file by outboxkit.settings."""

import re
import socket
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from outboxkit.address import parse_address
from outboxkit.settings import Settings, prefix
from outboxkit.sql.url import DatabaseUrl

_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,40}")


def _address(text: str) -> str:
    parse_address(text)
    return text


def _instance(name: str) -> str:
    if not _INSTANCE.fullmatch(name):
        raise ValueError("it is no name of 1 to 40 letters, digits, dots, underscores and hyphens")
    return name


def host_name() -> str:
    """Return the host's name, as far as it can name an instance."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:40] or "writers"


class WritersSettings(Settings):
    """What `writers` needs to know; all but the database is for `writers serve`."""

    model_config = prefix("WRITERS_")

    database_url: DatabaseUrl = Field(description="write postgresql://user:password@host:5432/database")
    http_address: Annotated[str, AfterValidator(_address)] = Field(
        "127.0.0.1:8080", description="write host:port of an address to serve at; port 0 takes a free one"
    )
    instance: Annotated[str, AfterValidator(_instance)] = Field(
        default_factory=host_name, description="write a name of letters, digits, dots, underscores and hyphens"
    )
    token: SecretStr | None = Field(
        None, min_length=16, description="write at least 16 characters, which requests then send as a bearer token"
    )
    pool_size: int = Field(20, ge=1, le=1000, description="write how many sessions it may have, 1 to 1000")
    pool_wait: float = Field(2.0, gt=0, le=60, description="write how long a request waits for a session, in seconds")
    request_bytes: int = Field(
        2_097_152, ge=1024, le=67_108_864, description="write the largest body in bytes, 1024 to 67108864"
    )
    request_retention: float = Field(
        86_400, ge=60, le=31_536_000, description="write for how many seconds an Idempotency-Key is kept, from 60"
    )
    demo: bool = Field(default=False, description="write true or false: whether it serves the locking demo")
    grab_seconds: float = Field(
        2.0, ge=0, le=60, description="write how long POST /grab-task works on a task, in seconds, 0 to 60"
    )
    grace: float = Field(
        20.0, ge=0, le=3600, description="write how long requests may take to end at SIGTERM, in seconds"
    )
