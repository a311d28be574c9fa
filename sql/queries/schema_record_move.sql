-- Moves the record to where it is now, from public, where older versions made it.
CREATE SCHEMA IF NOT EXISTS outbox_setup;
ALTER TABLE public.outbox_relay_schema RENAME TO applied;
ALTER TABLE public.applied SET SCHEMA outbox_setup;
GRANT USAGE ON SCHEMA outbox_setup TO PUBLIC;
GRANT SELECT ON outbox_setup.applied TO PUBLIC
