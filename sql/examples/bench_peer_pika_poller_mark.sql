-- Marks rows as published.
UPDATE outbox.event SET published_at = now() WHERE id = ANY(%(ids)s::uuid[]) AND published_at IS NULL
