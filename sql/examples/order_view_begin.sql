-- Lets consumers keep the view, and empties it. The owner of sql/roles.sql runs it after order_view.sql.
GRANT USAGE ON SCHEMA demo TO outbox_consumer;
GRANT SELECT, INSERT, UPDATE ON demo.order_view TO outbox_consumer;
TRUNCATE demo.order_view
