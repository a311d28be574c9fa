-- How many events of the default partition are old and published.
SELECT outbox.old_in_default(%(keep)s::interval)
