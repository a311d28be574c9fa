-- Parks an event again that was redriven and could not be applied. Returns its row, or NULL if it was settled meanwhile.
WITH again AS (
    UPDATE inbox.parked
    SET asked_at = NULL, times = times + 1, parked_at = clock_timestamp(), reason = %(reason)s, error = %(error)s
    WHERE number = %(number)s AND asked_at IS NOT NULL AND applied_at IS NULL AND discarded_at IS NULL
    RETURNING number
)
SELECT coalesce((SELECT number FROM again),
                (SELECT number FROM inbox.parked
                 WHERE number = %(number)s AND applied_at IS NULL AND discarded_at IS NULL))
