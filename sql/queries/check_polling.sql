-- What a poll of the outbox table needs besides its columns: the default of tx, the relations without a usable index that
-- begins with tx, who else than its owner may choose tx, and whether the trigger of `relay setup --notify` is there.
-- `writable` are the columns that a writer may set.
WITH outbox AS (
    SELECT c.oid, c.relowner, c.relacl
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p')
), tx AS (
    SELECT a.attnum, a.attacl, pg_get_expr(d.adbin, d.adrelid) AS default
    FROM outbox JOIN pg_attribute AS a ON a.attrelid = outbox.oid AND a.attname = 'tx' AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
), leaf AS (
    SELECT l.oid, l.oid::regclass::text AS name
    FROM outbox
    CROSS JOIN LATERAL (SELECT outbox.oid AS relid, true AS isleaf
                        WHERE NOT EXISTS (SELECT FROM pg_partition_tree(outbox.oid) AS p WHERE p.relid <> outbox.oid)
                        UNION ALL SELECT p.relid, p.isleaf FROM pg_partition_tree(outbox.oid) AS p
                        WHERE p.relid <> outbox.oid) AS part
    JOIN pg_class AS l ON l.oid = part.relid AND l.relkind = 'r'
    WHERE part.isleaf
)
SELECT (SELECT tx.default FROM tx) AS tx_default,
       ARRAY(SELECT leaf.name FROM leaf
             WHERE NOT EXISTS (
                 SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                 JOIN pg_class AS ic ON ic.oid = i.indexrelid JOIN pg_am AS am ON am.oid = ic.relam
                 WHERE i.indrelid = leaf.oid AND a.attname = 'tx' AND am.amname = 'btree'
                   AND i.indisvalid AND i.indisready AND i.indpred IS NULL)
             ORDER BY 1) AS unindexed,
       ARRAY(SELECT DISTINCT coalesce(r.rolname::text, 'public')
             FROM outbox, tx
             CROSS JOIN LATERAL (
                 SELECT * FROM aclexplode(outbox.relacl) UNION ALL SELECT * FROM aclexplode(tx.attacl)) AS granted
             LEFT JOIN pg_roles AS r ON r.oid = granted.grantee
             WHERE granted.privilege_type = 'INSERT' AND granted.grantee <> outbox.relowner
             ORDER BY 1) AS writers,
       ARRAY(SELECT a.attname::text FROM outbox JOIN pg_attribute AS a ON a.attrelid = outbox.oid
             WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ('tx', 'seq') AND a.attgenerated = ''
             ORDER BY a.attnum) AS writable,
       EXISTS (SELECT FROM outbox JOIN pg_trigger AS t ON t.tgrelid = outbox.oid
               WHERE t.tgname = 'relay_notify' AND t.tgenabled IN ('O', 'A')) AS notifies
