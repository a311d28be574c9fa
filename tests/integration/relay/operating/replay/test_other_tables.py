"""`relay replay` of an existing table, in a layout without numbers."""

import psycopg

from sandbox import Isolated
from tests.integration.relay.operating.replay.replay_stage import History
from tests.integration.relay.stage import call, environment

_TABLE = """
CREATE TABLE "out%box" (
    id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text NOT NULL, "ty%pe" text NOT NULL, payload jsonb,
    tx xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX ON "out%box" (tx)
"""
_INSERT = """
INSERT INTO "out%%box" SELECT gen_random_uuid(), 'order', n, %s, '{}' FROM generate_series(1, %s) AS n
RETURNING id::text
"""


def test_rows_without_numbers_are_replayed_by_transaction_and_a_selection_reads_the_columns_of_the_layout(
    isolated: Isolated,
) -> None:
    other = {
        "RELAY_OUTBOX_TABLE": "public.out%box", "RELAY_OUTBOX_LAYOUT": "debezium", "RELAY_SOURCE": "polling",
        "RELAY_OUTBOX_COLUMNS": '{"event_type": "ty%pe"}', "RELAY_POLL_BATCH": "3",
    }  # fmt: skip
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        connection.execute(_TABLE)
    assert call(environment(isolated, **other), "setup").code == 0
    history = History(isolated)
    first = history.note()
    with psycopg.connect(isolated.database_url, autocommit=True) as connection:
        paid = [row[0] for row in connection.execute(_INSERT, ["paid", 5])]
        sent = [row[0] for row in connection.execute(_INSERT, ["sent", 2])]
    assert history.replay("--from-lsn", first, **other).code == 0
    assert history.ids() == sorted(paid) + sorted(sent)
    assert history.replay("--from-event", paid[0], "--type", "s*", **other).code == 0
    assert history.ids() == sorted(sent)
