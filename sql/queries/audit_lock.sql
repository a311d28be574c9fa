-- Before the snapshot of an audit is taken: retention that drops a partition at this moment has ended then, and what it notes
-- of it is seen; until the audit ends, it drops none. Otherwise the rows were gone, and nothing said where they went.
-- https://www.postgresql.org/docs/current/mvcc-caveats.html
LOCK TABLE outbox.event IN ACCESS SHARE MODE
