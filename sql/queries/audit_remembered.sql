-- Since when the inbox has every event that was applied: from its oldest entry on, and for the last hour at least
-- (CONSUMERS_INBOX_RETENTION may not be less).
SELECT least(min(applied_at) + interval '10 seconds', clock_timestamp() - interval '1 hour') FROM inbox.message
