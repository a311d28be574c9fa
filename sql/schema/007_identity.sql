-- Whose a slot is, and which relations an outbox has: what a relay compares before it streams and before it stores.

-- A slot has one relay. Of several rows, written under earlier names of one relay, only the latest means anything.
DELETE FROM relay.checkpoint AS old USING relay.checkpoint AS new
WHERE old.slot = new.slot AND (old.updated_at, old.name) < (new.updated_at, new.name);

ALTER TABLE relay.checkpoint
    ADD CONSTRAINT "a slot has one relay" UNIQUE (slot),
    -- A database can be renamed; its oid stays, and is not that of a copy.
    ADD COLUMN database_oid oid;

COMMENT ON COLUMN relay.checkpoint.lsn IS
    'Every event of a transaction that ends at or before this LSN is confirmed by RabbitMQ. It is stored before it is '
    'reported to the slot, so the slot is never ahead of it.';
COMMENT ON COLUMN relay.checkpoint.database_oid IS 'NULL in rows of a version that reported before it stored.';

-- Returns the relations that hold the rows of an outbox (`schema.table`), by oid, persistence and name, as one text to
-- compare; NULL if there is no such table, or none was asked for. Partitions are attached, detached, renamed and SET
-- UNLOGGED while a relay streams, and wal2json names a row's partition.
-- https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-PARTITION
CREATE FUNCTION relay.outbox_relations(outbox text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT string_agg(format('%s%s %I.%I', c.oid, c.relpersistence, n.nspname, c.relname), ' ' ORDER BY c.oid)
    FROM pg_class AS root
    JOIN pg_namespace AS schema ON schema.oid = root.relnamespace
    CROSS JOIN LATERAL (
        SELECT relid FROM pg_partition_tree(root.oid) WHERE isleaf
        UNION SELECT root.oid  -- a table of another kind has no tree
    ) AS tree
    JOIN pg_class AS c ON c.oid = tree.relid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE schema.nspname = split_part(outbox, '.', 1) AND root.relname = substr(outbox, strpos(outbox, '.') + 1)
);
