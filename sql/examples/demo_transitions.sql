-- How many runs failed, how many tasks were tried again, how many claims of a consumer that died ended, and how many tasks were
-- cancelled while they ran.
SELECT count(*) FILTER (WHERE to_status = 'failed'),
       count(*) FILTER (WHERE (from_status, to_status) = ('failed', 'scheduled')),
       count(*) FILTER (WHERE (from_status, to_status) = ('running', 'pending')),
       count(*) FILTER (WHERE (from_status, to_status) = ('cancelling', 'cancelled'))
FROM tasks.history
