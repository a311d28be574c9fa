-- Removes old events from the default partition; returns how many.
SELECT outbox.drain_default(%(keep)s::interval)
