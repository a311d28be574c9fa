"""What an older schema has stored is still there, and usable, after the files that came later."""

import psycopg

from outboxkit import sql
from sandbox import Isolated
from tests.integration.relay.stage import call, environment

OLDER = """
INSERT INTO relay.parked (id, seq, aggregate_type, aggregate_id, aggregate_version, event_type, payload, headers,
                          created_at, relay, reason, detail)
SELECT 'e' || n, n, 'order', '42', n, 'paid', '{}', '{"n": 1.0}', now(), 'relay', 'returned', 'no queue takes it'
FROM generate_series(1, 3) AS n
"""


def test_parked_rows_keep_their_ids_and_get_numbers(isolated: Isolated) -> None:
    files = {file.name[:3]: file for file in sql.schema()}
    with psycopg.connect(isolated.database_url) as connection:
        connection.execute("DROP SCHEMA outbox, tasks, relay CASCADE")
        for number, file in sorted(files.items()):
            if number == "008":
                connection.execute(OLDER)
            connection.execute(file.text)

    rows = call(environment(isolated), "parked", "list", "--json").json
    assert [(row["row"], row["id"]) for row in rows] == [(1, "e1"), (2, "e2"), (3, "e3")]
    assert call(environment(isolated), "slot", "create").code == 0
    assert call(environment(isolated), "parked", "redrive", "e1").code == 0
    assert call(environment(isolated), "parked", "discard", "--row", "2", "--yes").code == 0
    listed = call(environment(isolated), "parked", "list", "--json").json
    assert [(row["id"], row["asked_at"] is None) for row in listed] == [("e1", False), ("e3", True)]
