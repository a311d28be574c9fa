-- Begins an audit: every answer is of one moment.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
