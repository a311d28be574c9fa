"""`relay slot` on a relay that is set up, and where its slot and its stored position stand."""

import psycopg

from sandbox import Isolated
from tests.integration.relay.stage import Said, call, environment, one


def slot(isolated: Isolated, *arguments: str, answer: str | None = None) -> Said:
    return call(environment(isolated), "slot", *arguments, answer=answer)


def position(isolated: Isolated) -> tuple[str, str]:
    with psycopg.connect(isolated.database_url) as connection:
        query = """SELECT s.confirmed_flush_lsn::text, c.lsn::text
                   FROM pg_replication_slots AS s, relay.checkpoint AS c WHERE s.slot_name = %s"""
        row = connection.execute(query, [isolated.name]).fetchone()
    assert row is not None
    return row[0], row[1]


def slots(isolated: Isolated) -> int:
    return int(
        one(isolated.database_url, "SELECT count(*) FROM pg_replication_slots WHERE database = %s", isolated.name)
    )
