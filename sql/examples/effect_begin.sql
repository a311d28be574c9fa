-- Lets consumers write effects, and removes those of an earlier demo. The owner of sql/roles.sql runs it after effect.sql.
GRANT USAGE ON SCHEMA demo TO outbox_consumer;
GRANT INSERT ON demo.effect TO outbox_consumer;
TRUNCATE demo.effect, demo.run
