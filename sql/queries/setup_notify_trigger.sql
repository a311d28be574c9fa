-- Wakes a relay that polls, once for each statement that writes.
CREATE OR REPLACE TRIGGER relay_notify AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION relay.notify()
