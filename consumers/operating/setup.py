"""The command `consumers setup`: the schema, in the consumers' own database.

It is for a database that is not the outbox's: there `relay setup` makes the same, and more.
"""

from typing import Annotated

import psycopg
import typer

from consumers.errors import DatabaseUnavailable
from consumers.operating.options import Config
from consumers.settings import ConsumerSettings
from outboxkit.errors import Problem
from outboxkit.postgres import conninfo, message
from outboxkit.settings import load
from outboxkit.sql import apply


def setup(
    config: Config = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL that would run. Change nothing.")] = False,
) -> None:
    """Create the schema in CONSUMERS_DATABASE_URL, if that is not the outbox's database. Safe to repeat.

    It makes every table, also those of the outbox, and no replication slot, no exchange and no queue.
    """
    settings = load(ConsumerSettings, config)
    try:
        with psycopg.connect(
            conninfo(settings.database_url.get_secret_value(), application_name="consumers setup"),
            autocommit=True,
            prepare_threshold=None,
        ) as connection:
            lines = list(apply.script(connection)) if dry_run else _applied(connection)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(
            f"Postgres is not reachable, or refuses the login: {message(error)}",
            remedy="check host, port, database, user and password in CONSUMERS_DATABASE_URL",
        ) from error
    except psycopg.Error as error:
        raise Problem(
            f"the schema cannot be made ({error.sqlstate}: {message(error)}); nothing was changed",
            remedy="run it as the database's owner; else find the code in appendix A of PostgreSQL's manual",
        ) from error
    for line in lines:
        typer.echo(line)


def _applied(connection: psycopg.Connection[object]) -> list[str]:
    files, restored = apply.apply(connection)
    done = [f"applied {file.name}" for file in files] + [f"made schema {name} again" for name in restored]
    return done or ["the schema is up to date"]
