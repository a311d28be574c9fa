-- Where the record of the applied schema files is: in a schema of its own, or in public, where older versions made it.
-- Names are looked up in the catalog, because to_regclass fails without USAGE on the schema.
SELECT count(*) FILTER (WHERE n.nspname = 'outbox_setup' AND c.relname = 'applied') > 0           AS there,
       count(*) FILTER (WHERE n.nspname = 'public' AND c.relname = 'outbox_relay_schema') > 0     AS in_public
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'r'
