-- How many events were removed from the outbox since a replay was made, of those that may be in its range and that it has not
-- published yet. NULL if there were some whose numbers are not known.
SELECT CASE WHEN count(*) = count(r.seqs)
            THEN coalesce(sum(relay.count_of(r.seqs * int8multirange(int8range(p.done_seq, NULL, '()')))), 0)::bigint END
FROM relay.replay AS p JOIN outbox.retired AS r
    ON r.retired_at > p.created_at AND coalesce(r.last_tx >= pg_snapshot_xmin(p.after_snapshot), true)
       AND coalesce(r.first_tx < pg_snapshot_xmax(p.until_snapshot), true)
WHERE p.job = %(job)s
