-- Several relays share the events of an outbox: each publishes one of N partitions, by a hash of the aggregate.
--
-- Every relay of such an outbox has a position of its own, in a row of its own, and a row says of its partition what it says of
-- the whole outbox elsewhere. All N rows are made together, by whoever sets up the first relay, and begin at the same position.
-- A row has no relay until one is set up for it. So a partition that nobody publishes keeps its place: nothing is removed from the
-- outbox that it has not published, an audit counts its events as pending, and the relay that takes it misses none.

-- The partition of an aggregate, from 1: the first four bytes of SHA-256 of type and id, with a zero byte between them, modulo
-- `partitions`. Relays compute the same (relay/core/partition.py), and so can each consumer.
CREATE FUNCTION outbox.partition_of(aggregate_type text, aggregate_id text, partitions integer) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 1 + (('x' || encode(substring(sha256(convert_to(aggregate_type, 'UTF8') || decode('00', 'hex')
                                                || convert_to(aggregate_id, 'UTF8')) FROM 1 FOR 4), 'hex'))::bit(32)::bigint
                % partitions)::integer
$$;

-- Into how many partitions an outbox is divided; one that is not here is whole. The foreign key below has it that all relays of
-- the outbox agree.
CREATE TABLE relay.partitioned (
    outbox     text    PRIMARY KEY,
    partitions integer NOT NULL,
    UNIQUE (outbox, partitions),
    CONSTRAINT "an outbox has 2 to 256 partitions" CHECK (partitions BETWEEN 2 AND 256)
);
COMMENT ON TABLE relay.partitioned IS 'Outboxes whose events several relays share, and in how many partitions.';
COMMENT ON COLUMN relay.partitioned.outbox IS 'A table as schema.table.';

ALTER TABLE relay.checkpoint
    ADD COLUMN partitioned    text,
    ADD COLUMN partitioned_by text[],
    ADD COLUMN partition      integer NOT NULL DEFAULT 1,
    ADD COLUMN partitions     integer NOT NULL DEFAULT 1,
    ADD COLUMN vacant         boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT "all relays of an outbox have the same number of partitions"
        FOREIGN KEY (partitioned, partitions) REFERENCES relay.partitioned (outbox, partitions),
    ADD CONSTRAINT "a partition has one relay" UNIQUE (partitioned, partition),
    ADD CONSTRAINT "partition lies between 1 and partitions" CHECK (partition BETWEEN 1 AND partitions),
    ADD CONSTRAINT "a relay that has no partition publishes all" CHECK ((partitioned IS NULL) = (partitions = 1)),
    ADD CONSTRAINT "an outbox is divided by columns" CHECK ((partitioned IS NULL) = (partitioned_by IS NULL)),
    ADD CONSTRAINT "the outbox that is divided is the relay's" CHECK (partitioned IS NULL OR outboxes = ARRAY[partitioned]),
    ADD CONSTRAINT "only a partition can be without a relay" CHECK (NOT vacant OR partitioned IS NOT NULL);

COMMENT ON COLUMN relay.checkpoint.partitioned IS
    'The outbox of which this relay publishes a partition; NULL if it publishes all events of its outbox.';
COMMENT ON COLUMN relay.checkpoint.partitioned_by IS
    'The columns of type and id of the aggregate. Relays that hash others would leave events to each other.';
COMMENT ON COLUMN relay.checkpoint.vacant IS
    'Whether no relay was set up for this partition: then the name says which one it is, and the position is where it begins.';

-- A divided outbox has a position for each of its partitions: without one, nothing would say what of the partition is published.
CREATE FUNCTION relay.check_partitions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lacks record;
BEGIN
    SELECT n, p.partitions, p.outbox INTO lacks
    FROM relay.partitioned AS p, generate_series(1, p.partitions) AS n
    WHERE p.outbox IN (OLD.partitioned, NEW.partitioned)  -- NULL for an INSERT, or a DELETE
      AND NOT EXISTS (SELECT FROM relay.checkpoint AS c WHERE c.partitioned = p.outbox AND c.partition = n)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'partition %/% of % must have a position', lacks.n, lacks.partitions, lacks.outbox
            USING ERRCODE = 'restrict_violation',
                  HINT = 'To give it to another relay, rename that relay. '
                      || 'To divide the outbox otherwise, run `relay setup --take-over`.';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER check_partitions
AFTER INSERT OR DELETE OR UPDATE OF partitioned, partition, partitions ON relay.checkpoint
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION relay.check_partitions();

-- The names of the relays that share the events of an outbox with a relay, and its own; also of partitions that have no relay.
CREATE FUNCTION relay.members(name text) RETURNS SETOF text
LANGUAGE sql STABLE
AS $$
    SELECT members.name
    UNION
    SELECT m.name FROM relay.checkpoint AS c JOIN relay.checkpoint AS m ON m.partitioned = c.partitioned WHERE c.name = members.name
$$;
