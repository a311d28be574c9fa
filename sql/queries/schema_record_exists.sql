-- Whether any schema has been applied to this database.
SELECT to_regclass('public.outbox_relay_schema') IS NOT NULL
