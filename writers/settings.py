"""The writers' settings, read from the environment or a TOML file by runtime.settings."""

from pydantic import Field

from runtime.settings import Settings, prefix
from sql.url import DatabaseUrl


class WritersSettings(Settings):
    """What `writers` needs to know."""

    model_config = prefix("WRITERS_")

    database_url: DatabaseUrl = Field(description="write postgresql://user:password@host:5432/database")
