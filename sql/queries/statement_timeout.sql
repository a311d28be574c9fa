-- Gives up every following statement of the session after so long.
SELECT set_config('statement_timeout', %(timeout)s, false)
