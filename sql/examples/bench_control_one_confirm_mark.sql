-- Marks one row as published.
UPDATE outbox.event SET published_at = now() WHERE seq = %(seq)s AND published_at IS NULL
