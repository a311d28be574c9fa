"""The writers' settings, read from the environment or a TOML file by outboxkit.settings."""

from pydantic import Field

from outboxkit.settings import Settings, prefix
from outboxkit.sql.url import DatabaseUrl


class WritersSettings(Settings):
    """What `writers` needs to know."""

    model_config = prefix("WRITERS_")

    database_url: DatabaseUrl = Field(description="write postgresql://user:password@host:5432/database")
