-- Lets a statement that writes into the outbox wake the relay that polls it. The notification is sent when the transaction
-- commits; many of one transaction are one. https://www.postgresql.org/docs/current/sql-notify.html
CREATE OR REPLACE FUNCTION relay.notify() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('outbox_event', '');
    RETURN NULL;
END $$
