"""A primary and its physical standby, which change places; always run by this machine's programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from sandbox.lifetime import private
from sandbox.machine.waiting import until
from sandbox.servers.backend import Extra
from sandbox.servers.postgres import STANDBY, Postgres

_CATCHES_UP_SECONDS = 60.0
# On the primary only: a server that was promoted would wait for a standby that it does not have.
_SYNCHRONOUS: LiteralString = f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'"
_AHEAD_OF_COPIES: LiteralString = f"ALTER SYSTEM SET synchronized_standby_slots = '{STANDBY}'"
_ALONE: LiteralString = "ALTER SYSTEM RESET ALL"
_RELOAD: LiteralString = "SELECT pg_reload_conf()"
_WRITTEN: LiteralString = "SELECT pg_current_wal_flush_lsn()::text"
_REPLAYED: LiteralString = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"


class Pair:
    """Two servers with one password. `primary` takes writes, and `standby` follows it or has ended."""

    def __init__(self, primary: Postgres, standby: Postgres) -> None:
        self.primary = primary
        self.standby = standby

    def make_synchronous(self) -> None:
        """Let each commit wait until the standby has flushed it, from now on.

        https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION
        """
        _run(self.primary, _SYNCHRONOUS, _RELOAD)

    def hold_back_streams(self) -> None:
        """Let a stream of a failover slot wait until the standby has what it sends (PostgreSQL 17 and later).

        https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONIZED-STANDBY-SLOTS
        """
        _run(self.primary, _AHEAD_OF_COPIES, _RELOAD)

    def catch_up(self) -> None:
        """Wait until the standby has replayed all that the primary has flushed by now."""
        written = _ask(self.primary, _WRITTEN)
        until(
            lambda: _ask(self.standby, _REPLAYED, written),
            what=f"the standby has replayed {written}",
            seconds=_CATCHES_UP_SECONDS,
        )

    def promote(self) -> None:
        """Make the standby the primary. The other one has ended, and stays as it is until `follow` or `copy_again`."""
        self.standby.start()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary
        _run(self.primary, _ALONE, _RELOAD)

    def follow(self) -> None:
        """Start the server that was the primary, and was stopped in order, as the standby of the new one.

        Its own slots stay. https://www.postgresql.org/docs/current/warm-standby.html#STANDBY-SERVER-SETUP
        """
        self.standby.turn_to(self.primary)
        self.standby.start()

    def copy_again(self) -> None:
        """Throw away what the standby has, and start it with a new copy of the primary."""
        self.standby.kill()
        self.standby.follow(self.primary)
        self.standby.start()


@contextmanager
def pair(extra: Extra, *, slot: bool = False) -> Iterator[Pair]:
    """Start a Postgres with `extra` and a standby of it for the block; with `slot`, a physical slot is between them."""
    with private.postgres(extra) as primary, private.standby(primary, slot=slot) as standby:
        yield Pair(primary, standby)


def _run(server: Postgres, *statements: LiteralString) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _ask(server: Postgres, question: LiteralString, *about: object) -> Any:  # noqa: ANN401 - one column of any type
    with psycopg.connect(server.url, autocommit=True) as connection:
        row = connection.execute(question, about).fetchone()
    return row and row[0]
